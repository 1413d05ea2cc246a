"""Pages of other origins that may use the API (WHISPER_CORS_ORIGINS): with a key in the header, never with a cookie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from flask import Flask, Response, request

#: What a page may send beside the headers that need no leave. A preflight is answered with those it asks for.
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_MOST_HEADERS = 32

#: How long a browser remembers a preflight, in seconds.
MAX_AGE_SECONDS = 600

#: What a page may read of an answer's headers, beside the usual ones.
EXPOSED = ", ".join(
    (
        "X-Job-Id",
        "X-Gpu-Used",
        "X-Device",
        "X-Compute-Type",
        "X-Fallback-Code",
        "X-Warnings",
        "X-Request-Id",
        "X-Should-Retry",
        "Idempotency-Replayed",
        "Retry-After",
        "Location",
        "ETag",
        "Content-Disposition",
        "Content-Range",
        "Tus-Resumable",
        "Tus-Version",
        "Tus-Extension",
        "Tus-Max-Size",
        "Upload-Offset",
        "Upload-Length",
        "Upload-Expires",
    )
)


@dataclass(frozen=True, kw_only=True)
class CorsRule:
    """The origins that the operator allows, as browsers spell them: scheme, host and port, no path."""

    origins: frozenset[str]

    @classmethod
    def build(cls, origins: Iterable[str]) -> CorsRule:
        """From the setting's words."""
        return cls(origins=frozenset(origin.lower().rstrip("/") for origin in origins))

    def allows(self, origin: str | None, *, has_key: bool) -> bool:
        """Whether a page of this origin may ask; `*` allows every one that brings a key."""
        if origin is None or origin == "null":
            return False
        return origin.lower() in self.origins or (has_key and "*" in self.origins)


def is_preflight() -> bool:
    """Whether a browser asks whether a page may send a request."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def answer_preflight(rule: CorsRule) -> Response | None:
    """The answer to a preflight of an allowed origin; None: as any other request, and then without leave."""
    # A preflight carries no key: that the request itself will is what it asks leave for.
    if not is_preflight() or not rule.allows(request.headers.get("Origin"), has_key=True):
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, PATCH, DELETE"
    response.headers["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
    asked = [name.strip() for name in request.headers.get("Access-Control-Request-Headers", "").split(",")]
    allowed = [name for name in asked[:_MOST_HEADERS] if _HEADER_NAME.fullmatch(name)]
    if allowed:
        response.headers["Access-Control-Allow-Headers"] = ", ".join(allowed)
    return response


def init_app(app: Flask, rule: CorsRule) -> None:
    """Let pages of allowed origins read the answers."""

    def set_headers(response: Response) -> Response:
        if not rule.origins:
            return response
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        # Errors, too: a page that may not read a 401 can't say what is wrong.
        if origin is not None and rule.allows(origin, has_key=True):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response

    app.after_request(set_headers)
