"""The address that systemd's socket unit holds: it is the true one, whatever the settings say."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

import structlog

logger = structlog.get_logger(__name__)

#: The first descriptor that systemd passes, by sd_listen_fds(3).
FIRST_DESCRIPTOR = 3


def adopt_socket(environ: MutableMapping[str, str]) -> None:
    """Put the address of an inherited socket into the settings' variables, so that checks and messages are about it."""
    address = _inherited(environ)
    if address is None:
        return
    for name, value in zip(("WHISPER_HOST", "WHISPER_PORT"), address, strict=True):
        if environ.get(name, value) != value:
            logger.warning(
                "address_of_socket",
                setting=name,
                value=environ[name],
                in_use=value,
                fix="scripts/install-service --address takes it into transcriber.socket.",
            )
        environ[name] = value


def _inherited(environ: MutableMapping[str, str]) -> tuple[str, str] | None:
    if environ.get("LISTEN_PID") != str(os.getpid()) or not int(environ.get("LISTEN_FDS") or 0):
        return None
    with suppress(OSError), socket.socket(fileno=os.dup(FIRST_DESCRIPTOR)) as held:
        if held.family in (socket.AF_INET, socket.AF_INET6):
            host, port = held.getsockname()[:2]
            return str(host), str(port)
    return None
