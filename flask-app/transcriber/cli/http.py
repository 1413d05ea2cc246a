"""HTTP to one server, by the standard library: one connection for each exchange, nothing kept between them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..domain.errors import TranscriberError
from ..domain.errors.stored import restored
from ..domain.jobs import JobError
from .retries import InterruptedExchangeError

#: A server that says nothing for so long is gone, in seconds. A live stream has a sign of life every ten.
SILENCE_SECONDS = 60.0

#: Answers that are about the moment, not about the request.
_FOR_NOW = frozenset({429, 502, 503, 504, 507})

#: Of an answer that is no JSON, as much is shown.
_SHOWN_BYTES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises TranscriberError when it is none: something else answers at this address."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise TranscriberError(
                f"The server's answer is no JSON: {self.body[:_SHOWN_BYTES]!r}",
                code="server_unreachable",
                fix="Check the address of --server: something else seems to answer there.",
            ) from None


class Http:
    """Exchanges with the server at this address."""

    def __init__(self, url: str, api_key: str, *, silence: float = SILENCE_SECONDS) -> None:
        """Raises TranscriberError (invalid_parameter) for an address that is none."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise TranscriberError(
                f"--server was {url!r}; allowed: an address as http://127.0.0.1:5000.",
                code="invalid_parameter",
            )
        self.url = url
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "transcriber-cli"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._silence = silence

    def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | None = None,
    ) -> Reply:
        """One request and its whole answer. Raises InterruptedExchangeError."""
        with self._opened(method, path, headers or {}, body) as response:
            return _read(response)

    @contextmanager
    def streamed(self, path: str, headers: Mapping[str, str]) -> Iterator[tuple[Reply, Iterator[bytes]]]:
        """An answer that is read line by line as it comes; its body is only there where it is no stream."""
        with self._opened("GET", path, headers, None) as response:
            if response.status == 200:
                yield Reply(status=200, headers=_lower(response), body=b""), _lines(response)
            else:
                yield _read(response), iter(())

    @contextmanager
    def _opened(
        self, method: str, path: str, headers: Mapping[str, str], body: Iterable[bytes] | None
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._silence)
        with _interruptions(self.url):
            connection.connect()
        try:
            with _interruptions(self.url):
                # A server that refuses an upload answers before it has read it all, and closes.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, self._prefix + path, body, {**self._headers, **headers})
                response = connection.getresponse()
            yield response
        finally:
            connection.close()


def raise_for(reply: Reply) -> None:
    """Raises what the answer says: an error of the service, or InterruptedExchangeError if it is about now."""
    if reply.status < 300:
        return
    error = _error_of(reply)
    pause = reply.headers.get("retry-after", "")
    if reply.status in _FOR_NOW and (error is None or pause.isdecimal()):
        message = f"{error.code}: {error.message}" if error else f"The server answered {reply.status}."
        raise InterruptedExchangeError(
            message, float(pause) if pause.isdecimal() else None, is_busy=reply.status == 429
        )
    raise error or TranscriberError(
        f"The server answered {reply.status}: {reply.body[:_SHOWN_BYTES]!r}",
        code="server_unreachable",
        fix="Check the address of --server: something else seems to answer there.",
    )


def error_from(body: Mapping[str, Any]) -> TranscriberError:
    """The service's error from the fields of its error body."""
    return restored(
        JobError(
            code=str(body.get("code", "internal_error")),
            message=str(body.get("message", "")),
            fix=str(body.get("fix") or ""),
            param=body.get("param"),
        )
    )


def _error_of(reply: Reply) -> TranscriberError | None:
    try:
        body = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return error_from(body) if isinstance(body, dict) else None


@contextmanager
def _interruptions(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise InterruptedExchangeError(f"{url} does not answer: {error or type(error).__name__}") from error


def _read(response: http.client.HTTPResponse) -> Reply:
    with _interruptions("The server"):
        return Reply(status=response.status, headers=_lower(response), body=response.read())


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _interruptions("The server"):
            line = response.readline()
        if not line:
            return
        yield line


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
