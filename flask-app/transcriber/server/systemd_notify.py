"""READY=1 for systemd, once a request is really answered. gunicorn's own comes before a worker serves."""

from __future__ import annotations

import socket
from collections.abc import MutableMapping

import structlog

logger = structlog.get_logger(__name__)

#: How long an answer may take, in seconds.
ANSWER_SECONDS = 5.0

_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

#: An address as sockets have it: (host, port, …) or a path.
Address = tuple[object, ...] | str


def take_notify_socket(environ: MutableMapping[str, str]) -> str | None:
    """Where systemd listens, taken out of the environment: nobody else says READY=1, nor inherits it."""
    return environ.pop("NOTIFY_SOCKET", None)


def is_answered(address: Address) -> bool:
    """Whether an HTTP answer comes from there."""
    family, target = reachable(address)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(target)
            connection.sendall(_REQUEST)
            return connection.recv(16).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def reachable(address: Address) -> tuple[socket.AddressFamily, Address]:
    """The family and the address to connect to: of one that stands for all interfaces, the loopback's."""
    if isinstance(address, str):
        return socket.AF_UNIX, address
    host, *rest = address
    family = socket.AF_INET6 if ":" in str(host) else socket.AF_INET
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound to
    return family, (everywhere.get(str(host), host), *rest)


def notify(notify_socket: str, state: str) -> None:
    """Send one message to systemd; a failure is logged, as a service that runs must not end for it."""
    target = f"\0{notify_socket[1:]}" if notify_socket.startswith("@") else notify_socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(target)
            channel.sendall(state.encode())
    except OSError as error:
        logger.warning("systemd_not_notified", error=str(error))
