"""The same request again, over a socket: after a whole answer it is a new job, after a connection cut before it the same."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from job_watch import wait_until
from media_files import make_wave
from server import Server, multipart

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"

#: Of three windows, a second each: an answer that can be left in the middle.
SLOW = f"{STAND_IN} --windows 3 --pace 1"
SILENCE = make_wave(bytes(16_000))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("resends"), env={"WHISPER_ENGINE_COMMAND": SLOW}) as server:
        server.wait_for("/health/ready")
        yield server


@pytest.fixture
def send(server: Server) -> Callable[..., socket.socket]:
    """Sends one whole request, always of the same bytes."""

    def post(**fields: str) -> socket.socket:
        body, content_type = multipart(SILENCE, "a.wav", {"model": "base"} | fields)
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        head = (
            f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        )
        client.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return client

    return post


def read(client: socket.socket, until: bytes = b"") -> bytes:
    """What comes, until these bytes or the end; then the connection is closed."""
    found = b""
    with closing(client):
        while (not until or until not in found) and (more := client.recv(65536)):
            found += more
    assert until in found, found
    return found


def job_of(answer: bytes) -> tuple[str, bool]:
    """The job's id, and whether it was another request's."""
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert status.startswith("HTTP/1.1 200"), answer
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return fields["x-job-id"], fields.get("idempotency-replayed") == "true"


@pytest.mark.parametrize("fields", [{"prompt": "whole"}, {"prompt": "stream", "stream": "true"}])
def test_answer_that_was_delivered_whole_is_not_given_again(
    send: Callable[..., socket.socket], fields: dict[str, str]
) -> None:
    first = job_of(read(send(**fields)))

    second = job_of(read(send(**fields)))

    assert not second[1]
    assert second[0] != first[0]


def test_stream_that_was_cut_before_its_end_goes_on_with_its_job(
    send: Callable[..., socket.socket],
) -> None:
    cut = read(send(stream="true", prompt="cut"), until=b"transcript.text.delta")
    assert b"transcript.text.done" not in cut

    again = read(send(stream="true", prompt="cut"))

    assert job_of(again) == (job_of(cut)[0], True)
    assert b"transcript.text.done" in again


def test_client_that_left_before_the_answer_finds_its_job(
    server: Server, send: Callable[..., socket.socket]
) -> None:
    before = {job["job_id"] for job in server.get("/jobs").json["jobs"]}
    client = send(prompt="left")
    wait_until(lambda: len(server.get("/jobs").json["jobs"]) > len(before), "its job is there", 20)
    client.close()

    found, is_replayed = job_of(read(send(prompt="left")))

    assert is_replayed
    assert {job["job_id"] for job in server.get("/jobs").json["jobs"]} - before == {found}
