"""A client that goes away from POST /transcribe, seen on gunicorn's own socket."""

from __future__ import annotations

import socket
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from media_files import RATE, make_wave, read_pcm
from server import Server, multipart

pytestmark = pytest.mark.model

SLOWLY = {"WHISPER_BATCH_SIZE": "1", "WHISPER_CPU_THREADS": "1"}


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)} | SLOWLY
    with Server(tmp_path_factory.mktemp("client gone"), env=env) as started:
        started.wait_for("/health/ready")
        yield started


@pytest.fixture(scope="module")
def minutes(speech: Path) -> bytes:
    """Ten minutes of speech: long enough to be left in the middle."""
    once = read_pcm(speech)
    return make_wave(array("h", once * (600 * RATE // len(once))))


@pytest.fixture
def send(server: Server, minutes: bytes) -> Iterator[Callable[..., socket.socket]]:
    """Sends a whole POST /transcribe, and waits until its job runs."""
    opened: list[socket.socket] = []

    def post(ahead: bytes = b"", **fields: str) -> socket.socket:
        body, content_type = multipart(minutes, "minutes.wav", fields)
        head = f"POST /transcribe HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        client = socket.create_connection(("127.0.0.1", server.port))
        opened.append(client)
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + ahead)
        until(server, "running", 20)
        return client

    yield post
    for client in opened:
        client.close()
    if newest(server)["status"] == "running":
        server.request("DELETE", newest(server)["links"]["self"])
        until(server, "cancelled", 20)


def newest(server: Server) -> Any:
    return next(iter(server.get("/jobs?limit=1").json["jobs"]), {"status": None})


def until(server: Server, status: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (seen := newest(server)["status"]) != status:
        assert time.monotonic() < deadline, f"{seen}, not {status}, after {seconds} s"
        time.sleep(0.02)


def holds(server: Server, status: str, seconds: float) -> None:
    """The newest job has this status all this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert newest(server)["status"] == status
        time.sleep(0.05)


def test_job_of_a_client_that_went_away_is_cancelled_within_two_seconds(
    server: Server, send: Callable[..., socket.socket]
) -> None:
    send().close()

    until(server, "cancelled", 2)


def test_detached_job_goes_on(server: Server, send: Callable[..., socket.socket]) -> None:
    send(detach="true").close()

    holds(server, "running", 1.5)


def test_request_sent_ahead_does_not_look_like_leaving(
    server: Server, send: Callable[..., socket.socket]
) -> None:
    client = send(ahead=b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")

    holds(server, "running", 1.5)
    server.request("DELETE", newest(server)["links"]["self"])
    client.settimeout(10)
    assert client.recv(12) == b"HTTP/1.1 409"
