"""When waiting jobs start: shares of one machine, and guesses from the first bytes of a file."""

from __future__ import annotations

import struct

import pytest

from transcriber.jobs.lengths import guess_seconds
from transcriber.jobs.outlook import foresee


def test_jobs_in_one_slot_follow_one_another() -> None:
    outlook = foresee([10.0], [5.0, 7.0], slots=1)

    assert (outlook.ends, outlook.starts) == ((10.0,), (10.0, 15.0))


def test_jobs_in_several_slots_share_the_machine() -> None:
    outlook = foresee([10.0, 20.0], [30.0], slots=2)

    assert (outlook.ends, outlook.starts) == ((20.0, 40.0), (20.0,))


def test_free_slots_are_taken_at_once() -> None:
    assert foresee([10.0], [1.0, 1.0, 1.0], slots=3).starts == (0.0, 0.0, 3.0)


def test_nothing_to_do_takes_no_time() -> None:
    assert foresee([], [], slots=4).starts == ()
    assert foresee([0.0], [0.0, 0.0], slots=1).starts == (0.0, 0.0)


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
