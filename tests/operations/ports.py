"""Ports of loopback that nobody listens at now."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_port(count: int = 1) -> int:
    """The first of `count` in a row. Below the range that the kernel gives to clients."""
    for first in range(20_000, 32_000, 10):
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise RuntimeError("No port is free")
