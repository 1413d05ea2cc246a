"""Where silence goes, and when a clock is not believed."""

from __future__ import annotations

import pytest

from transcriber.domain.ports import SAMPLE_RATE
from transcriber.media.child.timeline import Timeline


def test_sound_that_begins_with_the_file_gets_no_silence() -> None:
    timeline = Timeline(origin=1000.0, declared_end=1010.0)

    assert timeline.silence_before(1000.0, 0) == 0
    assert timeline.jumps == 0


def test_sound_that_begins_after_the_picture_is_preceded_by_silence() -> None:
    timeline = Timeline(origin=0.0, declared_end=20.0)

    assert timeline.silence_before(3.0, 0) == 3 * SAMPLE_RATE
    assert timeline.silence_before(3.02, 3 * SAMPLE_RATE) == 0


def test_hole_is_filled() -> None:
    timeline = Timeline(origin=0.0, declared_end=20.0)

    assert timeline.silence_before(7.0, 5 * SAMPLE_RATE) == 2 * SAMPLE_RATE


@pytest.mark.parametrize("time", [4.6, 5.4])
def test_jitter_is_left_alone(time: float) -> None:
    timeline = Timeline(origin=0.0, declared_end=20.0)

    assert timeline.silence_before(time, 5 * SAMPLE_RATE) == 0
    assert timeline.jumps == 0


def test_long_hole_inside_the_declared_length_is_filled() -> None:
    timeline = Timeline(origin=0.0, declared_end=3600.0)

    assert timeline.silence_before(1805.0, 5 * SAMPLE_RATE) == 1800 * SAMPLE_RATE


@pytest.mark.parametrize("declared_end", [None, 60.0])
def test_leap_that_the_file_does_not_confirm_is_closed_up(declared_end: float | None) -> None:
    timeline = Timeline(origin=0.0, declared_end=declared_end)

    assert timeline.silence_before(40_000.0, 5 * SAMPLE_RATE) == 0
    assert timeline.jumps == 1
    assert timeline.silence_before(40_001.0, 6 * SAMPLE_RATE) == 0
    assert timeline.jumps == 1


def test_leap_backwards_is_closed_up() -> None:
    timeline = Timeline(origin=0.0, declared_end=60.0)

    assert timeline.silence_before(0.0, 5 * SAMPLE_RATE) == 0
    assert timeline.silence_before(1.0, 6 * SAMPLE_RATE) == 0
    assert timeline.jumps == 1


def test_frames_without_a_timestamp_follow_each_other() -> None:
    assert Timeline(origin=0.0, declared_end=None).silence_before(None, 5) == 0
