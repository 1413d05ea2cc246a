"""Who has to make room for whom, when connections are many."""

from __future__ import annotations

import pytest

from transcriber.server.connections import Connection, Connections


class Socket:
    ended = False

    def shutdown(self, how: int, /) -> None:
        self.ended = True


def admit(connections: Connections, address: str = "192.0.2.1") -> tuple[Socket, Connection | None]:
    sock = Socket()
    return sock, connections.admit(sock, (address, 40_000))


def held(connections: Connections, address: str = "192.0.2.1") -> Socket:
    sock, connection = admit(connections, address)
    assert connection is not None
    connections.hold(connection)
    return sock


def test_one_too_many_ends_the_oldest_of_its_address() -> None:
    connections = Connections(per_address=2, total=100)
    other, _ = admit(connections, "192.0.2.9")
    socks = [admit(connections)[0] for _ in range(4)]

    assert [sock.ended for sock in socks] == [True, True, False, False]
    assert not other.ended
    assert (len(connections), connections.ended, connections.refused) == (3, 2, 0)


def test_those_that_showed_a_key_stay_and_a_further_one_is_refused() -> None:
    connections = Connections(per_address=2, total=100)
    socks = [held(connections), held(connections)]

    assert admit(connections)[1] is None
    assert not any(sock.ended for sock in socks)
    assert connections.refused == 1
    assert admit(connections, "192.0.2.9")[1] is not None


def test_one_that_rests_again_is_the_youngest() -> None:
    connections = Connections(per_address=2, total=100)
    first, connection = admit(connections)
    second, _ = admit(connections)
    assert connection is not None
    connections.hold(connection)
    connections.rest(connection)
    admit(connections)

    assert (first.ended, second.ended) == (False, True)


def test_all_places_taken_end_the_oldest_of_all() -> None:
    connections = Connections(per_address=0, total=2)
    kept = held(connections)
    oldest, _ = admit(connections, "192.0.2.2")
    admit(connections, "192.0.2.3")

    assert (oldest.ended, kept.ended, len(connections)) == (True, False, 2)


def test_who_leaves_makes_room_once() -> None:
    connections = Connections(per_address=1, total=100)
    sock, connection = admit(connections)
    assert connection is not None
    connections.leave(connection)
    connections.leave(connection)
    connections.rest(connection)
    admit(connections)

    assert (sock.ended, len(connections)) == (False, 1)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_what_counts_as_one_address(first: str, second: str, is_same: bool) -> None:
    connections = Connections(per_address=1, total=100)
    sock, _ = admit(connections, first)
    admit(connections, second)

    assert sock.ended is is_same


@pytest.mark.parametrize("peer", [("10.1.2.3", 1), "", b"", ("no address", 1)])
def test_trusted_proxies_and_local_sockets_have_no_limit(peer: object) -> None:
    connections = Connections(per_address=1, total=100, trusted=["10.0.0.0/8"])

    assert all(connections.admit(Socket(), peer) for _ in range(10))
    assert connections.ended == 0


def test_no_limit() -> None:
    connections = Connections(per_address=0, total=100)

    assert all(admit(connections)[1] for _ in range(50))
