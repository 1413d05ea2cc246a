"""What refuses a start, and the exit status that says so: one for each cause, and 3 for a required GPU alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from transcriber.domain.errors import (
    ConfigError,
    GpuRequiredError,
    StorageFailedError,
    StorageFullError,
    TranscriberError,
)
from transcriber.domain.transcript import FallbackReason
from transcriber.server import preflight
from transcriber.server.preflight import check_address, exit_status, status_of_refusal

ROOT = Path(__file__).resolve().parents[3]


def cause(code: str) -> FallbackReason:
    return FallbackReason(code=code, message="", fix="")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("wrong"), 2),
        (ConfigError("wrong", code="key_required"), 2),
        (ConfigError("both", code="data_dir_ambiguous"), 2),
        (GpuRequiredError("none"), 3),
        (TranscriberError("something"), 4),
        (ConfigError("taken", code="address_in_use"), 5),
        (ConfigError("taken", code="store_in_use"), 6),
        (StorageFailedError(), 6),
        (StorageFullError(), 7),
        (ConfigError("away", code="database_unreachable"), 4),
        (ConfigError("not yet", code="store_not_ready"), 4),
    ],
)
def test_each_cause_has_its_exit_status(error: TranscriberError, status: int) -> None:
    assert status_of_refusal(error) == status


@pytest.mark.parametrize(
    ("kept", "gunicorns", "status"),
    [
        (None, 0, 0),
        (cause("storage_full"), 0, 0),
        (cause("no_nvidia_gpu"), 3, 3),
        (None, 3, 1),
        (None, 4, 1),
        (cause("storage_full"), 4, 7),
        (cause("store_in_use"), 4, 6),
        (cause("something"), 4, 4),
        (None, 255, 255),
    ],
)
def test_master_ends_with_the_status_of_the_cause_and_3_means_one_thing(
    kept: FallbackReason | None, gunicorns: int, status: int
) -> None:
    assert exit_status(kept, gunicorns) == status


def test_master_ends_with_the_status_that_the_worker_has_logged() -> None:
    assert exit_status(cause("store_not_moved"), 4, 2) == 2
    assert exit_status(cause("store_not_moved"), 0, 2) == 0
    assert exit_status(cause("no_nvidia_gpu"), 3, 0) == 3


def test_every_status_has_its_line_in_the_docs() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    statuses = {value for name, value in vars(preflight).items() if name.startswith("EXIT_")}

    assert statuses == set(range(1, 8))
    assert [number for number in statuses if f"| {number} |" not in page] == []


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_port_in_use_is_named(taken: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_address("127.0.0.1", taken)

    assert (caught.value.code, caught.value.param) == ("address_in_use", "WHISPER_PORT")
    assert str(taken) in caught.value.message and "WHISPER_PORT" in caught.value.fix


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_address_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_address(host, 5000)

    assert (caught.value.code, caught.value.param) == ("address_not_usable", "WHISPER_HOST")
    assert host in caught.value.message


def test_free_addresses_pass(taken: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):
        check_address(host, port)
