"""A request that comes again: it finds its job while the first one's connection is gone, and for a while after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from transcriber.web.openai.resends import Resends


@dataclass
class FakeConnection:
    gone: bool = False

    def is_gone(self) -> bool:
        return self.gone


@dataclass
class FakeAlarm:
    call: Callable[[], None]
    is_set: bool = False

    def start(self) -> None:
        self.is_set = True

    def cancel(self) -> None:
        self.is_set = False


@dataclass
class Desk:
    """Resends whose alarms a test rings."""

    alarms: list[FakeAlarm] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resends = Resends(make_alarm=self._make)

    def _make(self, seconds: float, call: Callable[[], None]) -> FakeAlarm:
        self.alarms.append(FakeAlarm(call))
        return self.alarms[-1]

    def wait(self, connection: FakeConnection, job_id: str = "job") -> None:
        """A request that waits, and has its answer if its client is still there."""
        with self.resends.waiting("print", job_id, connection, self.given_up.append) as one:
            list(one.deliver(["answer"]))

    def ring(self) -> None:
        for alarm in self.alarms:
            if alarm.is_set:
                alarm.is_set = False
                alarm.call()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_lost_request_is_found_by_the_next_one(desk: Desk) -> None:
    desk.wait(FakeConnection(gone=True))

    assert desk.resends.find("print", is_resend=False) == "job"
    assert desk.resends.find("another", is_resend=False) is None


def test_answered_request_is_found_only_by_one_that_says_it_comes_again(desk: Desk) -> None:
    desk.wait(FakeConnection())

    assert desk.resends.find("print", is_resend=False) is None
    assert desk.resends.find("print", is_resend=True) == "job"


def test_client_that_closes_once_it_has_all_is_answered(desk: Desk) -> None:
    connection = FakeConnection()
    with desk.resends.waiting("print", "job", connection, desk.given_up.append) as one:
        assert list(one.deliver(["", "first", "last"])) == ["first", "last"]
        connection.gone = True
        assert desk.resends.find("print", is_resend=False) is None

    assert desk.resends.find("print", is_resend=False) is None


@pytest.mark.parametrize("left_after", [1, 2])
def test_client_that_closes_before_the_last_piece_is_lost(desk: Desk, left_after: int) -> None:
    connection = FakeConnection()
    with desk.resends.waiting("print", "job", connection, desk.given_up.append) as one:
        pieces = one.deliver(["first", "second", "last"])
        for _ in range(left_after):
            next(pieces)
        connection.gone = True
        assert list(pieces) == []

    assert desk.resends.find("print", is_resend=False) == "job"


def test_piece_that_could_not_be_sent_is_lost(desk: Desk) -> None:
    """The server closes the answer where its socket fails."""
    with desk.resends.waiting("print", "job", FakeConnection(), desk.given_up.append) as one:
        next(one.deliver(["answer"]))

    assert desk.resends.find("print", is_resend=False) == "job"


def test_answer_to_one_that_came_again_ends_the_matter(desk: Desk) -> None:
    """The first one's thread may learn later that its client has gone."""
    with desk.resends.waiting("print", "job", FakeConnection(gone=True), desk.given_up.append):
        desk.wait(FakeConnection())

    assert desk.resends.find("print", is_resend=False) is None


def test_two_that_wait_at_once_are_two_requests(desk: Desk) -> None:
    connection = FakeConnection()
    with desk.resends.waiting("print", "job", connection, desk.given_up.append):
        assert desk.resends.find("print", is_resend=False) is None
        connection.gone = True
        assert desk.resends.find("print", is_resend=False) == "job"


def test_job_nobody_comes_back_for_is_given_up(desk: Desk) -> None:
    desk.wait(FakeConnection(gone=True))

    desk.ring()

    assert desk.given_up == ["job"]
    assert desk.resends.find("print", is_resend=True) is None


def test_job_somebody_comes_back_for_goes_on(desk: Desk) -> None:
    desk.wait(FakeConnection(gone=True))
    with desk.resends.waiting("print", "job", FakeConnection(), desk.given_up.append):
        desk.ring()
        late = desk.alarms[0]
        late.call()  # an alarm that could not be called off any more

        assert desk.given_up == []


def test_window_begins_anew_with_each_that_leaves(desk: Desk) -> None:
    desk.wait(FakeConnection(gone=True))
    desk.wait(FakeConnection(gone=True))

    assert [alarm.is_set for alarm in desk.alarms] == [False, True]


def test_later_job_takes_the_place_of_an_earlier_one(desk: Desk) -> None:
    desk.wait(FakeConnection(), "first")
    desk.wait(FakeConnection(gone=True), "second")
    desk.ring()

    assert desk.given_up == ["first", "second"]
    assert desk.resends.find("print", is_resend=True) is None
