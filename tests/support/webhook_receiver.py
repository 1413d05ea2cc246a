"""Receivers of webhooks on this machine, and a watch on every connection that the process opens."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    line: str
    headers: dict[str, str]
    body: bytes


def reply(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "Content-Length: 0", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Receiver:
    """A web server that answers each request with the next reply, the last one for ever."""

    port: int
    replies: list[bytes] = field(default_factory=lambda: [reply(204)])
    received: list[Received] = field(default_factory=list)
    #: Writes the reply in its own way, with pauses for instance.
    answer: Callable[[socket.socket, bytes], None] = field(
        default=lambda connection, data: connection.sendall(data)
    )
    #: Server name of the TLS handshake, when there was one.
    server_names: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?from=test"

    def wait_for(self, count: int) -> list[Received]:
        """The requests, once there are so many."""
        deadline = time.monotonic() + 15
        while len(self.received) < count:
            assert time.monotonic() < deadline, self.received
            time.sleep(0.01)
        return self.received


@contextmanager
def receiving(
    *replies: bytes, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """A receiver on a free port of this machine."""
    with socket.create_server((host, 0)) as listener:
        receiver = Receiver(port=listener.getsockname()[1])
        if replies:
            receiver.replies = list(replies)
        if tls is not None:
            tls.sni_callback = lambda connection, name, context: receiver.server_names.append(name)
        thread = threading.Thread(target=_serve, args=(listener, receiver, tls), daemon=True)
        thread.start()
        yield receiver
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _serve(listener: socket.socket, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_handle, args=(connection, receiver, tls), daemon=True).start()


def _handle(connection: socket.socket, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
    try:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        with connection.makefile("rb") as stream:
            line = stream.readline().decode().rstrip()
            headers = {}
            while (header := stream.readline().decode()).strip():
                name, _, value = header.rstrip().partition(": ")
                headers[name] = value
            length = int(headers.get("Content-Length", 0))
            body = stream.read(length)
        if not header or len(body) < length:
            return  # the sender was killed in the middle: nothing was delivered
        data = receiver.replies.pop(0) if len(receiver.replies) > 1 else receiver.replies[0]
        receiver.received.append(Received(line, headers, body))
        receiver.answer(connection, data)
    except OSError:
        return
    finally:
        connection.close()


class ConnectionWatch:
    """Sees each connect(2) of this process before it happens, and stops those that would leave the machine."""

    def __init__(self) -> None:
        self._is_watching = False
        self.attempts: list[tuple[str, int]] = []
        sys.addaudithook(self._see)

    @contextmanager
    def watching(self) -> Iterator[list[tuple[str, int]]]:
        """The addresses that connections were attempted to, as they come."""
        self.attempts = []
        self._is_watching = True
        try:
            yield self.attempts
        finally:
            self._is_watching = False

    def _see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "socket.connect" or not self._is_watching or not isinstance(arguments[1], tuple):
            return
        address = (str(arguments[1][0]), int(arguments[1][1]))
        self.attempts.append(address)
        if not address[0].startswith("127."):
            raise ConnectionRefusedError(f"a test would have connected to {address[0]}")
