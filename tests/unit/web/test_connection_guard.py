"""What is read of a body before anybody knows who sends it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest

from transcriber.domain.errors import BodyTimeoutError
from transcriber.web.connection_guard import OPEN_BODY_BYTES, ConnectionGuard


class Late(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise BodyTimeoutError()


def ask(path: str, stream: Any, **environ: str) -> tuple[str, list[bytes]]:
    """Status, and what the application behind the guard read; it answers 200."""
    seen: list[bytes] = []
    statuses: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return [b""]

    guard = ConnectionGuard(app, frozenset({"/sign-in"}))  # type: ignore[arg-type]
    full = {"PATH_INFO": path, "REQUEST_METHOD": "POST", "wsgi.input": stream, **environ}
    list(guard(full, lambda status, headers, *_: statuses.append(status)))  # type: ignore[arg-type]
    return statuses[0], seen


def test_small_body_is_read_whole_before_the_application() -> None:
    assert ask("/sign-in", io.BytesIO(b"key=abc"), CONTENT_LENGTH="7") == ("200 OK", [b"key=abc"])


def test_chunked_body_too() -> None:
    assert ask("/sign-in", io.BytesIO(b"key=abc"), HTTP_TRANSFER_ENCODING="chunked") == (
        "200 OK",
        [b"key=abc"],
    )


@pytest.mark.parametrize(
    ("stream", "environ", "status"),
    [
        (io.BytesIO(), {"CONTENT_LENGTH": str(OPEN_BODY_BYTES + 1)}, "413"),
        (io.BytesIO(bytes(OPEN_BODY_BYTES + 1)), {"HTTP_TRANSFER_ENCODING": "chunked"}, "413"),
        (io.BytesIO(b"key"), {"CONTENT_LENGTH": "7"}, "400"),
        (Late(), {"CONTENT_LENGTH": "7"}, "408"),
    ],
)
def test_what_is_too_large_cut_off_or_late_never_reaches_the_application(
    stream: Any, environ: dict[str, str], status: str
) -> None:
    answer, seen = ask("/sign-in", stream, **environ)

    assert answer.startswith(status)
    assert seen == []


def test_other_addresses_read_their_bodies_themselves() -> None:
    assert ask("/jobs", io.BytesIO(bytes(100_000)), CONTENT_LENGTH="100000")[0] == "200 OK"
