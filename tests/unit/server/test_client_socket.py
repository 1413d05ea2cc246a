"""How long a body may take, and an answer that nobody reads."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from transcriber.domain.errors import BodyTimeoutError
from transcriber.server.client_socket import OPEN_BODY, TRUSTED_BODY, BodyPace, BodyRule, ClientSocket
from transcriber.server.connections import Connections


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_ends_a_body() -> None:
    clock = Clock()
    pace = BodyPace(BodyRule(silence=5, grace=100, least_rate=1), clock)
    clock.now = 4
    pace.note(1)
    clock.now = 8
    assert pace.left() == 1
    clock.now = 9
    assert pace.left() == 0


def test_bytes_earn_time() -> None:
    clock = Clock()
    pace = BodyPace(TRUSTED_BODY, clock)
    for _ in range(100):
        clock.now += 20
        pace.note(50_000)
        assert pace.left() > 0, "50 kB in 20 s is faster than the least rate"
    for _ in range(200):
        clock.now += 29
        pace.note(100)
    assert pace.left() <= 0


def test_dribble_does_not_prolong_an_open_body() -> None:
    clock = Clock()
    pace = BodyPace(OPEN_BODY, clock)
    for _ in range(10):
        clock.now += 1
        pace.note(1)
    assert pace.left() <= 0


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    connections = Connections(per_address=0, total=10)
    connection = connections.admit(ours, "")
    assert connection is not None
    with ours, theirs:
        yield ClientSocket(ours, connections, connection), theirs


def test_body_that_is_late_is_its_own_error(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, theirs = pair
    ours.begin_body(BodyPace(BodyRule(silence=0.05, grace=10, least_rate=0)))
    theirs.sendall(b"ab")

    assert ours.recv(10) == b"ab"
    with pytest.raises(BodyTimeoutError):
        ours.recv(10)
    assert ours.gettimeout() is None


def test_right_key_gives_more_time(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, _ = pair
    pace = BodyPace(OPEN_BODY)
    ours.begin_body(pace)
    ours.trust()

    assert pace.left() > OPEN_BODY.grace


def test_between_requests_nothing_is_limited_here(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, theirs = pair
    ours.begin_body(BodyPace(BodyRule(silence=0, grace=0, least_rate=0)))
    ours.end_request()
    theirs.sendall(b"GET")

    assert ours.recv(10) == b"GET"


def test_answer_goes_out_whole_and_one_that_is_not_read_is_given_up(
    pair: tuple[ClientSocket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.sendall(b"answer")
    assert theirs.recv(10) == b"answer"

    ours.settimeout(0.05)
    with pytest.raises(BrokenPipeError):
        ours.sendall(bytes(10_000_000))
