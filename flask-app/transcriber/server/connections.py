"""The connections of the web worker: how many each address may have, and which one makes room for the next.

Nobody without a key can block the service: a connection that has not shown a right key is ended, the oldest first,
where its address has too many or all are taken. One that has is held until its request is answered.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

import structlog

logger = structlog.get_logger(__name__)

#: An IPv6 customer has at least a /64 of addresses.
IPV6_PREFIX = 64


class ConnectedSocket(Protocol):
    """What is needed of a socket here."""

    def shutdown(self, how: int, /) -> object: ...


class Connection:
    """One connection. address: what it counts for; None: it counts for none."""

    __slots__ = ("address", "is_counted", "sock")

    def __init__(self, sock: ConnectedSocket, address: str | None) -> None:
        self.sock = sock
        self.address = address
        self.is_counted = True


class Connections:
    """All connections of one worker. Belongs to its event loop: no call waits for anything."""

    def __init__(self, *, per_address: int, total: int, trusted: Iterable[str] = ()) -> None:
        """per_address: 0 is no limit. trusted: networks of proxies, whose connections are not counted."""
        self._per_address = per_address
        self._total = total
        networks = tuple(ipaddress.ip_network(network) for network in trusted)
        self._key_of_host = lru_cache(maxsize=4096)(lambda host: _key_of_host(host, networks))
        self._counts: Counter[str] = Counter()
        self._all = 0
        #: Those that may have to make room, the oldest first: of each address, and all.
        self._waiting: dict[str, OrderedDict[Connection, None]] = {}
        self._waiting_all: OrderedDict[Connection, None] = OrderedDict()
        #: Connections that were ended or refused to make room, for the log and the metrics.
        self.ended = 0
        self.refused = 0

    def __len__(self) -> int:
        return self._all

    def admit(self, sock: ConnectedSocket, peer: object) -> Connection | None:
        """Count a new one, and end an old one if need be; None where there is no room for it."""
        address = self._key_of(peer)
        is_full = address is not None and 0 < self._per_address <= self._counts[address]
        if is_full and not self._end_oldest(self._waiting.get(address or "")):
            self.refused += 1
            return None
        if self._all >= self._total:
            self._end_oldest(self._waiting_all)
        connection = Connection(sock, address)
        self._all += 1
        if address is not None:
            self._counts[address] += 1
        self.rest(connection)
        return connection

    def hold(self, connection: Connection) -> None:
        """It has shown a right key: it stays until `rest`."""
        self._waiting_all.pop(connection, None)
        if connection.address is not None:
            waiting = self._waiting.get(connection.address)
            if waiting is not None:
                waiting.pop(connection, None)
                if not waiting:
                    del self._waiting[connection.address]

    def rest(self, connection: Connection) -> None:
        """It waits for its first or next request, and is the youngest of those."""
        if not connection.is_counted:
            return
        self.hold(connection)
        self._waiting_all[connection] = None
        if connection.address is not None:
            self._waiting.setdefault(connection.address, OrderedDict())[connection] = None

    def leave(self, connection: Connection) -> None:
        """It is closed. A second call does nothing."""
        self.hold(connection)
        if not connection.is_counted:
            return
        connection.is_counted = False
        self._all -= 1
        if connection.address is not None:
            self._counts[connection.address] -= 1
            if not self._counts[connection.address]:
                del self._counts[connection.address]

    def _end_oldest(self, waiting: OrderedDict[Connection, None] | None) -> bool:
        """End the oldest of these; its handler finds the connection closed. False where there is none."""
        if not waiting:
            return False
        oldest = next(iter(waiting))
        self.leave(oldest)
        self.ended += 1
        with suppress(OSError):
            oldest.sock.shutdown(socket.SHUT_RDWR)
        return True

    def _key_of(self, peer: object) -> str | None:
        """The address that a peer counts for: of IPv6 its network. None for Unix sockets and trusted proxies."""
        return self._key_of_host(str(peer[0])) if isinstance(peer, tuple) and peer else None


def _key_of_host(host: str, trusted: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if any(address in network for network in trusted):
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return str(address)
