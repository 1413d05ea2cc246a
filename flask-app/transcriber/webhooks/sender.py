"""Sends one webhook message over HTTP, to an address that the guard has just allowed, within a time limit."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from ..domain.jobs import Delivery
from . import tries
from .addresses import Address
from .guard import AddressNotAllowedError, Guard
from .signing import signed_headers
from .targets import BadUrlError, Target, parse_target
from .tries import TryResult

#: Seconds for one try, from the question to the resolver to the end of the answer.
TRY_SECONDS = 10.0

#: How much of an answer is read, headers included.
REPLY_BYTES = 64 * 1024

#: Opens a connection to an address and port within a time-out in seconds. Raises OSError.
Connect = Callable[[Address, int, float], socket.socket]


def connect_to(address: Address, port: int, timeout: float) -> socket.socket:
    """A connection to exactly this address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


class HttpSender:
    """Sender over HTTP/1.1: one connection a try, no redirects, no proxies."""

    def __init__(
        self,
        guard: Guard,
        *,
        version: str,
        timeout: float = TRY_SECONDS,
        tls: ssl.SSLContext | None = None,
        connect: Connect = connect_to,
    ) -> None:
        self._guard = guard
        self._agent = f"Transcriber-Webhooks/{version}"
        self._timeout = timeout
        self._tls = tls or ssl.create_default_context()
        self._connect = connect

    def send(self, delivery: Delivery, now: datetime) -> TryResult:
        """Try once. The guard is asked anew, so a name that has moved to a forbidden address is refused."""
        deadline = time.monotonic() + self._timeout
        try:
            target = parse_target(delivery.url)
            addresses = self._guard.addresses(target, self._timeout)
            with contextlib.closing(self._connected(target, addresses, deadline)) as connection:
                return self._ask(connection, target, delivery, now, deadline)
        except (AddressNotAllowedError, BadUrlError):
            return TryResult(error=tries.ADDRESS_NOT_ALLOWED)
        except (OSError, http.client.HTTPException) as error:
            is_late = time.monotonic() >= deadline
            return TryResult(error=tries.TIMED_OUT if is_late else _name_of(error))

    def _ask(
        self, connection: socket.socket, target: Target, delivery: Delivery, now: datetime, deadline: float
    ) -> TryResult:
        with _cut_off(connection, deadline):
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            connection.sendall(self._request(target, delivery, now))
            reply = http.client.HTTPResponse(_Capped(connection), method="POST")  # type: ignore[arg-type]
            reply.begin()
            if time.monotonic() >= deadline:
                # The end that http.client saw was the one that we made.
                raise TimeoutError
            # Read the rest, so that the receiver can end its answer in peace; its words don't count.
            with contextlib.suppress(OSError, http.client.HTTPException):
                reply.read(REPLY_BYTES)
        return TryResult(status=reply.status)

    def _connected(self, target: Target, addresses: Sequence[Address], deadline: float) -> socket.socket:
        """A connection to the first address that takes one, TLS not yet begun. Raises OSError."""
        for index, address in enumerate(addresses):
            left = deadline - time.monotonic()
            is_last = index == len(addresses) - 1
            try:
                if left <= 0:
                    raise TimeoutError
                plain = self._connect(address, target.port, left / (len(addresses) - index))
            except OSError:
                if is_last:
                    raise
                continue
            return self._encrypted(plain, target) if target.is_encrypted else plain
        raise TimeoutError

    def _encrypted(self, plain: socket.socket, target: Target) -> socket.socket:
        try:
            return self._tls.wrap_socket(plain, server_hostname=target.host, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise

    def _request(self, target: Target, delivery: Delivery, now: datetime) -> bytes:
        body = delivery.payload.encode()
        headers = {
            "Host": target.authority,
            "User-Agent": self._agent,
            "Accept": "*/*",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        } | signed_headers(delivery, now)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body


@contextlib.contextmanager
def _cut_off(connection: socket.socket, deadline: float) -> Iterator[None]:
    """End the connection at the deadline, even while its other side sends a byte now and then."""
    left = max(0.001, deadline - time.monotonic())
    connection.settimeout(left)

    def end() -> None:
        with contextlib.suppress(OSError):
            # Not SSLSocket's own shutdown, which would pull its TLS state away from the thread that reads.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(left, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Capped:
    """What http.client reads an answer from: the connection, up to REPLY_BYTES."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_CappedReader(self._connection, REPLY_BYTES))


class _CappedReader(io.RawIOBase):
    """Reads no more than this from a connection. Raises HTTPException where there is more."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self._connection = connection
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview[int]) -> int:  # type: ignore[override]
        if self._left == 0:
            raise http.client.HTTPException("the answer is too long")
        count = self._connection.recv_into(buffer[: min(len(buffer), self._left)])
        self._left -= count
        return count


def _name_of(error: Exception) -> str:
    """The word for a failure of the network or of the receiver."""
    match error:
        case socket.gaierror():
            return tries.NAME_NOT_RESOLVED
        case TimeoutError():
            return tries.TIMED_OUT
        case ssl.SSLError():
            return tries.TLS_FAILED
        case http.client.HTTPException() if not isinstance(error, ConnectionError):
            return tries.BAD_REPLY
        case _:
            return tries.CONNECTION_FAILED
