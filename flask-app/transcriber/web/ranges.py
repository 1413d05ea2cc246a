"""Which Range headers count: one part, in bytes, of a GET. RFC 9110 has all others ignored, or lets us."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ONE_PART = re.compile(r"\s*bytes\s*=[\s,]*(?:([0-9]+)-([0-9]*)|-[0-9]+)[\s,]*", re.IGNORECASE)


class OneRange:
    """Takes away a Range that Werkzeug would refuse with 416: another unit, several parts, or not well-formed.

    The answer is then the whole file: a unit that a server does not know has to be ignored (RFC 9110, 14.2), and so has
    any range but a GET's; the others may be. No player asks for several parts at once.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("HTTP_RANGE")
        if asked is not None and (environ["REQUEST_METHOD"] != "GET" or not is_one_part(asked)):
            del environ["HTTP_RANGE"]
        return self._app(environ, start_response)


def is_one_part(header: str) -> bool:
    """Whether the header asks for one part in bytes that does not end before it begins."""
    match = _ONE_PART.fullmatch(header) if len(header) <= 100 else None
    if match is None:
        return False
    first, last = match.groups()
    return not last or int(first) <= int(last)


def fit_suffix(environ: WSGIEnvironment, length: int) -> None:
    """Of a file shorter than the end that is asked for, all is that end (RFC 9110, 14.1.2); Werkzeug would refuse it."""
    match = re.fullmatch(r".*=[\s,]*-([0-9]+)[\s,]*", environ.get("HTTP_RANGE", ""))
    if match and length and int(match[1]) > length:
        environ["HTTP_RANGE"] = "bytes=0-"
