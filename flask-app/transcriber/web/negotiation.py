"""Whether the client is a browser that wants a page, or a program that wants data."""

from __future__ import annotations

from flask import request


def wants_html() -> bool:
    """True when text/html is explicitly preferred over JSON; `*/*` and no header mean JSON."""
    accept = request.accept_mimetypes
    return accept["text/html"] > accept["application/json"]
