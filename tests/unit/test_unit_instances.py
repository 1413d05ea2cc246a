"""The units of one service and of one for each GPU are the same but for the instance's name."""

from __future__ import annotations

from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "systemd"


def directives(name: str) -> list[str]:
    lines = (UNITS / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def of_one_service(line: str) -> str:
    """A line of the instance's unit as the one service would have it."""
    line = line.replace("@%i", "").replace("transcriber-%i", "transcriber").replace(" on GPU %i", "")
    return line.replace("/usr/bin/env WHISPER_GPU_DEVICE=%i WHISPER_DATA_DIR=/var/lib/transcriber ", "")


def test_instance_of_a_gpu_has_every_directive_of_the_service() -> None:
    instance = [of_one_service(line) for line in directives("transcriber@.service")]

    assert [line for line in instance if line != "EnvironmentFile=-/etc/transcriber/%i.env"] == directives(
        "transcriber.service"
    )


def test_sockets_differ_in_their_address_alone() -> None:
    instance = [of_one_service(line) for line in directives("transcriber@.socket")]

    assert [line for line in instance if not line.startswith("ListenStream=")] == [
        line for line in directives("transcriber.socket") if not line.startswith("ListenStream=")
    ]


def test_candidate_of_an_upgrade_takes_nothing_of_the_service_in_use() -> None:
    """scripts/install-service makes its unit by replacing lines: each of them has to be there."""
    lines = directives("transcriber.service")

    for line in (
        "Requires=transcriber.socket",
        "After=transcriber.socket",
        "Restart=on-failure",
        "[Install]",
    ):
        assert line in lines
    assert sum(line.startswith("ExecStopPost=") for line in lines) == 1
    assert {f"{kind}Directory=transcriber" for kind in ("State", "Cache", "Runtime")} <= set(lines)
