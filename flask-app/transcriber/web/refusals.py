"""The answer to what gunicorn refuses before it is a request: our error body and headers, as bytes."""

from __future__ import annotations

import json
from http import HTTPStatus

from ..domain.errors import TranscriberError
from .auth.security import FIXED_HEADERS
from .errors import error_body, status_of


def answer_bytes(error: TranscriberError, request_id: str) -> bytes:
    """The whole answer, as it goes over the wire."""
    body = json.dumps(error_body(error), ensure_ascii=False).encode()
    status = HTTPStatus(status_of(error))
    headers = {
        **FIXED_HEADERS,
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
    }
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
