"""Fetches one media file over HTTP, from addresses that the guard has just allowed, within limits of size and time.

httpcore2 speaks HTTP and TLS; each connection is made here, so that no redirect gets past the guard.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

import httpcore2

from ..domain.errors import (
    InvalidParameterError,
    UploadTooLargeError,
    UrlNotAllowedError,
    UrlRedirectsError,
    UrlRefusedError,
    UrlTimeoutError,
    UrlTypeError,
    UrlUnreachableError,
)
from ..domain.ports import FetchProgress
from ..webhooks.guard import AddressNotAllowedError, Guard
from ..webhooks.targets import BadUrlError, Target, parse_target

MOST_REDIRECTS = 5

#: Seconds that a connection, or the other side between two bytes, may take; and the head of one answer as a whole.
STEP_SECONDS = 30.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: Types that are never a media file. Others are the decoder's business: servers label media in many ways.
_WRONG_TYPES = (
    "text/",
    "image/",
    "font/",
    "message/",
    "multipart/",
    "application/json",
    "application/xhtml+xml",
)
_PLAYLISTS = ("mpegurl", "dash+xml", "application/xml", "application/pdf", "application/zip")


class HttpFetcher:
    """Fetcher over HTTP/1.1: no proxies, no cookies, no compression."""

    def __init__(
        self,
        guard: Guard,
        *,
        version: str,
        max_bytes: int,
        timeout: float,
        step: float = STEP_SECONDS,
        ssl_context: Any = None,
    ) -> None:
        self._guard = guard
        self._agent = f"Transcriber/{version}"
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._step = step
        self._ssl_context = ssl_context

    def check(self, url: str) -> None:
        """Raises InvalidParameterError, UrlNotAllowedError for a URL that can never be fetched. Asks no resolver."""
        try:
            target = parse_target(url)
        except BadUrlError as error:
            raise InvalidParameterError("url", url, str(error)) from None
        if not self._guard.may_be_allowed(target):
            raise UrlNotAllowedError()

    def fetch(self, url: str, write: Callable[[bytes], object], progress: FetchProgress) -> None:
        """Give the file's bytes to `write`. `progress`: the bytes so far and, if known, in all; raises to stop.

        Raises SourceError, UploadTooLargeError.
        """
        deadline = time.monotonic() + self._timeout
        seen_tls = False
        for _ in range(MOST_REDIRECTS + 1):
            target = self._target(url, seen_tls)
            seen_tls = target.is_encrypted
            with self._answer(target, url, deadline) as answer:
                if answer.status not in _REDIRECTS:
                    self._receive(answer, write, progress, deadline)
                    return
                url = _redirected(url, _header(answer, b"location") or "")
        raise UrlRedirectsError(f"The URL redirects more than {MOST_REDIRECTS} times.")

    def _target(self, url: str, must_be_encrypted: bool) -> Target:
        try:
            target = parse_target(url.partition("#")[0])
        except BadUrlError:
            raise UrlRedirectsError("The URL redirects to something that is no http or https URL.") from None
        if must_be_encrypted and not target.is_encrypted:
            raise UrlRedirectsError("The URL redirects from https to http.")
        return target

    @contextlib.contextmanager
    def _answer(self, target: Target, url: str, deadline: float) -> Iterator[httpcore2.Response]:
        """The answer with its head read; its body comes with reading on."""
        backend = _GuardedBackend(self._guard, target)
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self._step)
        headers: Mapping[bytes | str, bytes | str] = {
            "Host": target.authority,
            "User-Agent": self._agent,
            "Accept": "audio/*, video/*, application/octet-stream;q=0.9, */*;q=0.1",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        address = httpcore2.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.path.encode("ascii")
        )
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=self._ssl_context, network_backend=backend) as pool,
                backend.cut_off(deadline),
                backend.cut_off(time.monotonic() + 2 * self._step) as head_timer,
                pool.stream("GET", address, headers=headers, extensions={"timeout": timeout}) as answer,
            ):
                head_timer.cancel()
                yield answer
            if backend.was_cut:
                # A body without a length ends where the connection does: the end that was seen was ours.
                raise UrlTimeoutError()
        except AddressNotAllowedError:
            raise UrlNotAllowedError() from None
        except (httpcore2.TimeoutException, TimeoutError):
            raise UrlTimeoutError("The server of the URL did not answer in time.") from None
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.UnsupportedProtocol,
            OSError,
        ) as error:
            if backend.was_cut or time.monotonic() >= deadline:
                raise UrlTimeoutError() from None
            raise UrlUnreachableError(
                f"The server of the URL can't be reached, or the connection broke ({type(error).__name__})."
            ) from None

    def _receive(
        self,
        answer: httpcore2.Response,
        write: Callable[[bytes], object],
        progress: FetchProgress,
        deadline: float,
    ) -> None:
        if answer.status != 200:
            raise _refused(answer.status)
        kind = (_header(answer, b"content-type") or "").partition(";")[0].strip().lower()
        if kind.startswith(_WRONG_TYPES) or any(part in kind for part in _PLAYLISTS):
            raise UrlTypeError(f"The URL leads to {kind[:80]}, which is no audio or video file.")
        length = _length(answer)
        if length is not None and length > self._max_bytes:
            raise self._too_large()
        received = 0
        for piece in answer.iter_stream():
            received += len(piece)
            if received > self._max_bytes:
                raise self._too_large()
            if time.monotonic() >= deadline:
                raise UrlTimeoutError()
            write(piece)
            progress(received, length)

    def _too_large(self) -> UploadTooLargeError:
        return UploadTooLargeError(
            f"The file behind the URL is larger than the {self._max_bytes:,} bytes that are allowed."
        )


class _GuardedBackend(httpcore2.SyncBackend):
    """Connects to the target's own addresses, resolved once and allowed, whatever else is asked for."""

    def __init__(self, guard: Guard, target: Target) -> None:
        self._guard = guard
        self._target = target
        self._stream: httpcore2.NetworkStream | None = None
        self.was_cut = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._guard.addresses(self._target, timeout or STEP_SECONDS)
        for index, address in enumerate(addresses):
            try:
                self._stream = super().connect_tcp(
                    str(address), self._target.port, (timeout or STEP_SECONDS) / (len(addresses) - index)
                )
                return self._stream
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if index == len(addresses) - 1:
                    raise
        raise httpcore2.ConnectError("no address")

    @contextlib.contextmanager
    def cut_off(self, deadline: float) -> Iterator[threading.Timer]:
        """End the connection at the deadline, even while its other side sends a byte now and then."""
        timer = threading.Timer(max(0.001, deadline - time.monotonic()), self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield timer
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self.was_cut = True
        if self._stream is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which would pull its TLS state away from the thread that reads.
                socket.socket.shutdown(self._stream.get_extra_info("socket"), socket.SHUT_RDWR)


def _redirected(url: str, location: str) -> str:
    """Where the answer to this URL sends us. Raises UrlRedirectsError where that is nowhere."""
    if not location:
        raise UrlRedirectsError("The URL redirects, and its server does not say where to.")
    try:
        return urljoin(url, location)
    except ValueError:
        raise UrlRedirectsError("The URL redirects to something that is no URL.") from None


def _refused(status: int) -> UrlRefusedError | UrlUnreachableError:
    if status >= 500 or status == 429:
        return UrlUnreachableError(f"The server of the URL answered with status {status}.")
    return UrlRefusedError(f"The server of the URL answered with status {status}.")


def _header(answer: httpcore2.Response, name: bytes) -> str | None:
    found = next((value for key, value in answer.headers if key.lower() == name), None)
    return None if found is None else found.decode("latin-1")


def _length(answer: httpcore2.Response) -> int | None:
    text = _header(answer, b"content-length") or ""
    return int(text) if text.isascii() and text.isdigit() else None
