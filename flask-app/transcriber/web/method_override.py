"""tus clients behind proxies that let no PATCH or DELETE through send POST and name the method in a header."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where the header means something; pages of other sites can't send it (it needs a preflight, which we refuse).
PREFIX = "/uploads/"
METHODS = frozenset({"PATCH", "DELETE", "HEAD"})


class MethodOverride:
    """Takes X-HTTP-Method-Override for the method of a POST, below /uploads/ only."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        wanted = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", "").upper()
        is_ours = environ.get("PATH_INFO", "").startswith(PREFIX)
        if not (is_ours and environ["REQUEST_METHOD"] == "POST" and wanted in METHODS):
            return self._app(environ, start_response)
        environ["REQUEST_METHOD"] = wanted
        return self._app(environ, _without_length(start_response) if wanted == "HEAD" else start_response)


def _without_length(start_response: StartResponse) -> StartResponse:
    """To the client it stays a POST, whose answer has as many bytes as it says: none."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        return start_response(status, [*kept, ("Content-Length", "0")], exc_info)

    return start
