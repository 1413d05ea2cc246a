"""A clock that is set while the service runs: nothing looks older than it is, and nothing is younger than nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from transcriber.system.clock import MOST_UNSEEN_SECONDS, SystemClock

DAY = 86_400.0
START = 1_800_000_000.0


class Machine:
    """A machine whose two clocks a test moves."""

    def __init__(self) -> None:
        self.steady, self.ahead = 1000.0, 0.0

    def wall(self) -> float:
        return START + self.steady + self.ahead

    def clock(self, kept: bytes = b"", boot: str = "one") -> SystemClock:
        return SystemClock(self.wall, lambda: self.steady, boot=boot, kept=kept)

    def passes(self, clock: SystemClock, seconds: float) -> None:
        """Time passes under a service that looks at the clock every minute."""
        end = self.steady + seconds
        while self.steady < end:
            self.steady = min(end, self.steady + max(60.0, seconds / 50))
            clock.now()


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SystemClock:
    return machine.clock()


def is_older(clock: SystemClock, moment: datetime, ago: float) -> bool:
    return moment < clock.before(timedelta(seconds=ago))


def test_without_jumps_it_is_the_time(machine: Machine, clock: SystemClock) -> None:
    moment = clock.now()
    machine.passes(clock, 90)

    assert clock.now() == datetime.fromtimestamp(START + 1090, UTC)
    assert clock.age(moment) == 90
    assert clock.before(timedelta(seconds=60)) == clock.now() - timedelta(seconds=60)
    assert clock.age(clock.now() + timedelta(hours=1)) == 0


@pytest.mark.parametrize("jump", [2 * DAY, 40 * DAY, 3600, -3600, -40 * DAY])
def test_what_is_fresh_stays_fresh_when_the_clock_is_set(
    machine: Machine, clock: SystemClock, jump: float
) -> None:
    old = clock.now()
    machine.passes(clock, 60)
    machine.ahead = jump
    machine.steady += 1
    new = clock.now()
    machine.passes(clock, 60)

    assert clock.now().timestamp() == machine.wall()
    assert clock.age(new) == pytest.approx(60)
    assert not is_older(clock, old, DAY) and not is_older(clock, new, DAY)
    assert not is_older(clock, new, 61)
    if jump > 0:
        assert clock.age(old) == pytest.approx(121)
        assert is_older(clock, old, 90)


@pytest.mark.parametrize("jump", [2 * DAY, 40 * DAY])
def test_what_is_old_by_time_that_passed_is_old(machine: Machine, clock: SystemClock, jump: float) -> None:
    old = clock.now()
    machine.ahead = jump
    new = clock.now()
    machine.passes(clock, 1.5 * DAY)
    newest = clock.now()

    assert [is_older(clock, one, DAY) for one in (old, new, newest)] == [True, True, False]
    machine.ahead = 0
    assert not is_older(clock, clock.now(), 1)
    assert is_older(clock, old, DAY)
    machine.passes(clock, 2 * DAY)
    assert is_older(clock, old, 3 * DAY)
    assert not is_older(clock, clock.now(), 1)


def test_clock_that_goes_astray_for_a_while_changes_nothing(machine: Machine, clock: SystemClock) -> None:
    before = clock.now()
    machine.passes(clock, 600)
    machine.ahead = 40 * DAY
    astray = clock.now()
    machine.passes(clock, 600)
    machine.ahead = 0
    after = clock.now()
    machine.passes(clock, 600)

    assert not any(is_older(clock, one, DAY) for one in (before, astray, after))
    assert clock.age(before) == pytest.approx(1800)
    assert clock.age(after) == pytest.approx(600)


def test_slow_corrections_are_no_jump(machine: Machine, clock: SystemClock) -> None:
    moment = clock.now()
    for _ in range(100):
        machine.ahead += 0.01
        machine.passes(clock, 60)

    assert clock.age(moment) == pytest.approx(6000, abs=2)


@pytest.mark.parametrize("jump", [0, 40 * DAY, -40 * DAY])
def test_next_process_of_the_same_boot_knows_what_passed(
    machine: Machine, clock: SystemClock, jump: float
) -> None:
    moment = clock.now()
    machine.passes(clock, 600)
    kept = clock.to_bytes()
    machine.ahead = jump
    machine.steady += 3 * DAY

    again = machine.clock(kept)

    assert not is_older(again, moment, 3 * DAY + 700)
    if jump >= 0:
        assert is_older(again, moment, 3 * DAY)
        assert again.age(moment) == pytest.approx(3 * DAY + 600)


@pytest.mark.parametrize("off", [3600, 40 * DAY])
def test_time_between_two_boots_counts_up_to_a_day(machine: Machine, clock: SystemClock, off: float) -> None:
    moment = clock.now()
    machine.passes(clock, 600)
    kept = clock.to_bytes()
    machine.ahead += machine.steady + off - 5.0
    machine.steady = 5.0

    again = machine.clock(kept, boot="two")

    unseen = min(off, MOST_UNSEEN_SECONDS)
    assert again.age(moment) == pytest.approx(600 + unseen)
    assert is_older(again, moment, 590 + unseen)
    assert not is_older(again, moment, 610 + unseen)
    assert not is_older(again, again.now(), 1)


@pytest.mark.parametrize(
    "kept", [b"", b"{", b"[]", b'{"boot_id": "one"}', b'{"boot_id": "one", "steady": 1, "epochs": []}']
)
def test_what_can_not_be_read_is_as_nothing(machine: Machine, kept: bytes) -> None:
    clock = machine.clock(kept)
    moment = clock.now()
    machine.passes(clock, 60)

    assert clock.age(moment) == 60


def test_many_jumps_take_no_more_memory_than_some(machine: Machine, clock: SystemClock) -> None:
    moment = clock.now()
    for _ in range(200):
        machine.ahead += DAY
        machine.passes(clock, 60)

    assert len(clock.to_bytes()) < 10_000
    assert not is_older(clock, moment, DAY)
    assert not is_older(clock, clock.now(), 60)


def test_real_clocks_are_used_by_default() -> None:
    clock = SystemClock()

    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5
    assert clock.age(clock.now()) < 5
