"""Multipart bodies for tests of the upload route."""

from __future__ import annotations

import io
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def post_file(
    client: FlaskClient,
    data: bytes = b"RIFF....",
    *,
    name: str = "speech.wav",
    field: str = "audio",
    query: str = "",
    accept: str = "*/*",
    path: str = "/transcribe",
    key: str | None = None,
    environ: dict[str, Any] | None = None,
    **fields: Any,
) -> TestResponse:
    """POST one file; the other fields come after it, a list's one by one. `key` is the Idempotency-Key."""
    body = [_part(f'name="{field}"; filename="{name}"', data)]
    for option, value in fields.items():
        values = value if isinstance(value, list) else [value]
        body += [_part(f'name="{option}"', str(one).encode()) for one in values]
    return client.post(
        f"{path}{query}",
        data=b"".join(body) + b"--b--\r\n",
        content_type="multipart/form-data; boundary=b",
        environ_overrides=environ or {},
        headers={"Accept": accept} | ({"Idempotency-Key": key} if key is not None else {}),
    )


def _part(disposition: str, data: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"


class EndlessBody(io.RawIOBase):
    """A multipart body whose file never ends; counts what was read of it."""

    HEAD = (
        b'--b\r\nContent-Disposition: form-data; name="audio"; filename="x.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n"
    )

    def __init__(self) -> None:
        super().__init__()
        self._head = self.HEAD
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or b"\0" * len(buffer)
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        return len(data)
