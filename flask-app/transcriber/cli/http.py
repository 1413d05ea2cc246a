"""HTTP to one server: one connection for each exchange, nothing kept between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

import httpx2

from ..domain.errors import TranscriberError
from ..domain.errors.stored import restored
from ..domain.jobs import JobError
from .retries import InterruptedExchangeError
from .sent_file import SentFile

#: A server that says nothing for so long is gone, in seconds. A live stream has a sign of life every ten.
SILENCE_SECONDS = 60.0

#: Answers that are about the moment, not about the request.
_FOR_NOW = frozenset({429, 502, 503, 504, 507})

#: Of an answer that is no JSON, as much is shown.
_SHOWN_BYTES = 200


class Http:
    """Exchanges with the server at this address."""

    def __init__(self, url: str, api_key: str, *, silence: float = SILENCE_SECONDS) -> None:
        """Raises TranscriberError (invalid_parameter) for an address that is none."""
        self.url = url
        headers = {"Accept": "application/json", "User-Agent": "transcriber-cli"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx2.Client(
            base_url=_address(url),
            headers=headers,
            timeout=silence,
            limits=httpx2.Limits(max_keepalive_connections=0),
            trust_env=False,  # a proxy in the environment is for the internet
        )

    def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        file: tuple[str, SentFile] | None = None,
    ) -> httpx2.Response:
        """One request and its whole answer; file: its name and content, as the form's `audio`.

        Raises InterruptedExchangeError.
        """
        with _interruptions(self.url):
            return self._client.request(
                method,
                path,
                headers=headers,
                data=fields,
                files=None if file is None else {"audio": (file[0], cast("IO[bytes]", file[1]))},
            )

    @contextmanager
    def streamed(
        self, path: str, headers: Mapping[str, str]
    ) -> Iterator[tuple[httpx2.Response, Iterator[str]]]:
        """An answer that is read line by line as it comes; its body is only there where it is no stream."""
        with _interruptions(self.url), self._client.stream("GET", path, headers=headers) as response:
            if response.status_code == 200:
                yield response, response.iter_lines()
            else:
                response.read()
                yield response, iter(())

    def close(self) -> None:
        """Give back what is held."""
        self._client.close()


def json_of(reply: httpx2.Response) -> Any:
    """The answer. Raises TranscriberError when it is no JSON: something else answers at this address."""
    try:
        return reply.json()
    except ValueError:
        raise TranscriberError(
            f"The server's answer is no JSON: {reply.content[:_SHOWN_BYTES]!r}",
            code="server_unreachable",
            fix="Check the address of --server: something else seems to answer there.",
        ) from None


def raise_for(reply: httpx2.Response) -> None:
    """Raises what the answer says: an error of the service, or InterruptedExchangeError if it is about now."""
    if reply.status_code < 300:
        return
    error = _error_of(reply)
    pause = reply.headers.get("retry-after", "")
    if reply.status_code in _FOR_NOW and (error is None or pause.isdecimal()):
        message = f"{error.code}: {error.message}" if error else f"The server answered {reply.status_code}."
        raise InterruptedExchangeError(
            message, float(pause) if pause.isdecimal() else None, is_busy=reply.status_code == 429
        )
    raise error or TranscriberError(
        f"The server answered {reply.status_code}: {reply.content[:_SHOWN_BYTES]!r}",
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


def _error_of(reply: httpx2.Response) -> TranscriberError | None:
    try:
        body = reply.json()["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return error_from(body) if isinstance(body, dict) else None


@contextmanager
def _interruptions(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, httpx2.HTTPError) as error:
        raise InterruptedExchangeError(f"{url} does not answer: {error or type(error).__name__}") from error


def _address(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url if "//" in url else f"http://{url}")
    except httpx2.InvalidURL:
        address = httpx2.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise TranscriberError(
            f"--server was {url!r}; allowed: an address as http://127.0.0.1:5000.",
            code="invalid_parameter",
        )
    return address
