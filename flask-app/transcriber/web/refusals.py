"""The answer to what gunicorn refuses before it is a request: our error body and headers, as bytes."""

from __future__ import annotations

import json
from http import HTTPStatus

from ..domain.errors import TranscriberError
from .errors import error_body, status_of
from .fixed_headers import FIXED_HEADERS


def refusal(error: TranscriberError, request_id: str) -> tuple[str, list[tuple[str, str]], bytes]:
    """Status, headers and body of an answer that Flask has no part in."""
    body = json.dumps(error_body(error), ensure_ascii=False).encode()
    status = HTTPStatus(status_of(error))
    headers = {
        **FIXED_HEADERS,
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
    }
    return f"{status.value} {status.phrase}", list(headers.items()), body


def answer_bytes(error: TranscriberError, request_id: str) -> bytes:
    """The whole answer, as it goes over the wire."""
    status, headers, body = refusal(error, request_id)
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in headers),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
