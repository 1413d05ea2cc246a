"""A refused body: the connection closes, and a bounded part of the rest is drained first."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest
from gunicorn.http.errors import InvalidChunkSize

from transcriber.web.cooperative_yield import TURN_BYTES
from transcriber.web.uploads.body_drain import DRAIN_BYTES, BodyDrain, CheckedInput


class FakeServerResponse:
    """The parts of gunicorn's Response that matter: its bound start_response and force_close."""

    def __init__(self) -> None:
        self.closes = False
        self.headers: list[tuple[str, str]] = []

    def force_close(self) -> None:
        self.closes = True

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.headers = headers
        return lambda data: None


class FakeSocket:
    """Takes time-outs, as gunicorn.socket does."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)


class Endless(io.RawIOBase):
    """A body without an end; counts what was read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        self.bytes_read += size
        return bytes(size)


class BrokenBody(io.RawIOBase):
    """A body whose client has gone."""

    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError


def answer(status: str, body: Any, *, length: str = "10") -> FakeServerResponse:
    """Run one request with this body through the middleware; the app reads nothing of it."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        return [b"answer"]

    response = FakeServerResponse()
    environ = {"wsgi.input": body, "gunicorn.socket": FakeSocket(), "CONTENT_LENGTH": length}
    result = BodyDrain(app)(environ, response.start_response)
    assert list(result) == [b"answer"]
    if hasattr(result, "close"):
        result.close()
    return response


@pytest.mark.parametrize("status", ["400 Bad", "413 Too Large", "500 Broken"])
def test_refusal_closes_and_reads_the_rest(status: str) -> None:
    body = io.BytesIO(b"x" * 3_000_000)

    response = answer(status, body)

    assert response.closes
    assert ("Connection", "close") in response.headers
    assert body.read() == b""


def test_drain_has_an_end() -> None:
    body = Endless()

    answer("413 Too Large", body)

    assert body.bytes_read <= DRAIN_BYTES + TURN_BYTES


def test_client_that_left_is_no_error() -> None:
    assert answer("413 Too Large", BrokenBody()).closes


class BadlyChunkedBody(io.RawIOBase):
    """A body as gunicorn reads one with a chunk size that is no number."""

    def read(self, size: int = -1) -> bytes:
        raise InvalidChunkSize(b"zz")


def test_broken_transfer_coding_is_no_error_while_draining() -> None:
    assert answer("413 Too Large", BadlyChunkedBody()).closes


def test_broken_transfer_coding_reads_as_a_lost_connection() -> None:
    with pytest.raises(OSError, match="transfer coding"):
        CheckedInput(BadlyChunkedBody()).read(10)


def test_success_keeps_the_connection() -> None:
    body = io.BytesIO(b"rest")

    response = answer("200 OK", body)

    assert not response.closes
    assert body.read() == b"rest"


def test_refusal_without_a_body_keeps_the_connection() -> None:
    response = answer("404 Not Found", io.BytesIO(), length="")

    assert not response.closes
    assert ("Connection", "close") not in response.headers
