"""When waiting jobs start: shares of one machine, and guesses from the first bytes of a file."""

from __future__ import annotations

import struct
import time

import pytest

from transcriber.jobs.lengths import guess_seconds
from transcriber.jobs.outlook import SHORT_SHARE, Load, foresee


def starts(running: list[Load], waiting: list[Load], *, long: int, short: int = 0) -> list[float]:
    return foresee(running, waiting, long_slots=long, short_slots=short)


def test_jobs_in_one_slot_follow_one_another() -> None:
    assert starts([Load(10.0)], [Load(5.0), Load(7.0)], long=1) == [10.0, 15.0]


def test_jobs_in_several_slots_share_the_machine() -> None:
    assert starts([Load(10.0), Load(20.0)], [Load(30.0)], long=2) == [20.0]


def test_free_slots_are_taken_at_once() -> None:
    assert starts([Load(10.0)], [Load(1.0), Load(1.0), Load(1.0)], long=3) == [0.0, 0.0, 3.0]


def test_nothing_to_do_takes_no_time() -> None:
    assert starts([], [], long=4) == []
    assert starts([Load(0.0)], [Load(0.0), Load(0.0)], long=1) == [0.0, 0.0]


def test_short_job_passes_the_long_ones_into_a_short_slot() -> None:
    line = [Load(50.0), Load(2.0, is_short=True), Load(3.0, is_short=True), Load(1.0, is_short=True)]

    found = starts([Load(100.0)], line, long=1, short=2)

    assert found[1:3] == [0.0, 0.0]
    assert found[3] == pytest.approx(2 * 2.0 / SHORT_SHARE)  # two short ones share what they get
    assert found[0] > 100.0


def test_short_jobs_in_long_slots_leave_the_short_slots_free() -> None:
    at_work = [Load(5.0, is_short=True), Load(5.0, is_short=True)]

    assert starts(at_work, [Load(9.0), Load(1.0, is_short=True)], long=2, short=1)[1] == 0.0


def test_jobs_in_short_slots_leave_the_long_slots_free() -> None:
    at_work = [Load(5.0, is_short=True, in_short_slot=True), Load(60.0)]

    assert starts(at_work, [Load(9.0)], long=2, short=1) == [0.0]


def test_long_slot_that_becomes_free_takes_whoever_waits_longest() -> None:
    line = [Load(4.0), Load(4.0, is_short=True), Load(4.0)]

    assert starts([Load(10.0)], line, long=1) == [10.0, 14.0, 18.0]


def test_thousand_waiting_jobs_are_foreseen_in_no_time() -> None:
    line = [Load(float(n % 50), is_short=n % 3 == 0) for n in range(1000)]
    begun = time.process_time()

    found = starts([Load(10.0)] * 4, line, long=4, short=2)

    assert len(found) == 1000
    assert time.process_time() - begun < 1.0


def wav(rate: int) -> bytes:
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate // 2, rate, 2, 16)


def flac(rate: int, samples: int) -> bytes:
    return b"fLaC\0\0\0\x22" + bytes(10) + ((rate << 44) | samples).to_bytes(8, "big") + bytes(16)


@pytest.mark.parametrize(
    ("head", "size_bytes", "seconds"),
    [
        (wav(32_000), 3_200_000, 100.0),
        (wav(0), 3_200_000, 100.0),
        (flac(44_100, 441_000), 1, 10.0),
        (flac(0, 0), 500_000, 10.0),
        (b"ID3\x04", 1_600_000, 100.0),
        (b"\0\0\0\x20ftypM4A ", 1_600_000, 100.0),
        (b"", 16_000, 1.0),
    ],
)
def test_length_is_guessed_from_the_first_bytes(head: bytes, size_bytes: int, seconds: float) -> None:
    assert guess_seconds(head, size_bytes) == pytest.approx(seconds)
