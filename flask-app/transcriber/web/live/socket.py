"""A WebSocket over the connection of a request (RFC 6455), with messages of a bounded size and a pulse."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from flask import Response, request
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from ...domain.errors import WebSocketRequiredError
from ...server.client_socket import ClientSocket
from ..connection_guard import client_socket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: A message has no more bytes. Half a minute of sound in base64 is smaller.
MOST_BYTES = 2 * 1024 * 1024

#: After so many seconds of silence the client is asked whether it is there, and after so many silences it is gone.
PULSE_SECONDS = 15.0
MOST_SILENCES = 3

_READ_BYTES = 65_536


class SocketClosedError(Exception):
    """The connection is over. is_clean: the client has said so."""

    def __init__(self, *, is_clean: bool) -> None:
        super().__init__()
        self.is_clean = is_clean


class WebSocket:
    """One connection, for one reader and any number of senders."""

    def __init__(self, sock: ClientSocket, handshake: WSConnection, subprotocol: str | None) -> None:
        self._sock = sock
        self._protocol = handshake
        self._lock = threading.Lock()
        self._texts: list[str] = []
        self._length = 0
        self._ready: list[str] = []
        self._send(AcceptConnection(subprotocol=subprotocol))

    def receive(self) -> str:
        """The next message. Raises SocketClosedError."""
        silences = 0
        while not self._ready:
            data = self._read()
            if data is None:
                silences += 1
                if silences >= MOST_SILENCES:
                    raise SocketClosedError(is_clean=False)
                self._send(Ping())
                continue
            silences = 0
            self._take(data)
        return self._ready.pop(0)

    def send(self, text: str) -> None:
        """Waits until the kernel has taken it. Raises SocketClosedError."""
        self._send(TextMessage(data=text))

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; the reader hears of it."""
        with suppress(SocketClosedError):
            self._send(CloseConnection(code=code, reason=reason))
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _read(self) -> bytes | None:
        """Some bytes; None after a while without any."""
        try:
            self._sock.settimeout(PULSE_SECONDS)
            data = self._sock.recv(_READ_BYTES)
        except TimeoutError:
            return None
        except OSError:
            raise SocketClosedError(is_clean=False) from None
        if not data:
            raise SocketClosedError(is_clean=False)
        return data

    def _take(self, data: bytes) -> None:
        try:
            with self._lock:
                self._protocol.receive_data(data)
                events = list(self._protocol.events())
        except RemoteProtocolError:
            self.close(CloseReason.PROTOCOL_ERROR)
            raise SocketClosedError(is_clean=False) from None
        for event in events:
            self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._add(event)
            case BytesMessage():
                self.close(CloseReason.UNSUPPORTED_DATA, "messages are JSON")
                raise SocketClosedError(is_clean=False)
            case Ping():
                self._send(event.response())
            case Pong():
                pass
            case CloseConnection():
                with suppress(LocalProtocolError, SocketClosedError):
                    self._send(event.response())
                raise SocketClosedError(is_clean=True)

    def _add(self, part: TextMessage) -> None:
        self._texts.append(part.data)
        self._length += len(part.data)
        if self._length > MOST_BYTES:
            self.close(CloseReason.MESSAGE_TOO_BIG, f"a message has up to {MOST_BYTES} bytes")
            raise SocketClosedError(is_clean=False)
        if part.message_finished:
            self._ready.append("".join(self._texts))
            self._texts, self._length = [], 0

    def _send(self, event: Event) -> None:
        try:
            with self._lock:
                self._sock.sendall(self._protocol.send(event))
        except (OSError, LocalProtocolError):
            raise SocketClosedError(is_clean=False) from None


class SocketAnswer(Response):
    """The answer to a request that becomes a WebSocket: it lasts as long as the conversation."""

    def __init__(self, talk: Callable[[WebSocket], None], subprotocols: Iterable[str] = ()) -> None:
        """subprotocols: those that are spoken. Raises WebSocketRequiredError for a request that asks for none of it."""
        super().__init__(status=101)
        sock = client_socket(request.environ)
        handshake, offered = _shake_hands()
        if sock is None or handshake is None:
            raise WebSocketRequiredError()
        self._sock = sock
        self._handshake = handshake
        self._subprotocol = next((name for name in offered if name in frozenset(subprotocols)), None)
        self._talk = talk

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        """Ends with StopIteration, by which gunicorn knows that the connection is over."""
        self._sock.upgrade()
        with suppress(SocketClosedError):
            self._talk(WebSocket(self._sock, self._handshake, self._subprotocol))
        raise StopIteration


def _shake_hands() -> tuple[WSConnection | None, list[str]]:
    """The protocol of the connection once it is accepted, and the subprotocols that the client speaks."""
    protocol = WSConnection(ConnectionType.SERVER)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    try:
        protocol.initiate_upgrade_connection(headers, request.full_path)
    except RemoteProtocolError:
        return None, []
    event = next(protocol.events(), None)
    return (protocol, event.subprotocols) if isinstance(event, Request) else (None, [])
