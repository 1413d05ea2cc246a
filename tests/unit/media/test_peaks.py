"""The picture of a recording: as loud as it is where it is, for every length, in few bytes."""

from __future__ import annotations

import base64
from array import array

import pytest

from transcriber.media.peaks import FIRST_PART, MOST_PARTS, Peaks


def shown(peaks: Peaks) -> bytes:
    return base64.b64decode(peaks.to_text())


def tone(level: int, samples: int) -> bytes:
    return array("h", [level, -level] * (samples // 2)).tobytes()


def test_each_part_is_as_loud_as_it_is_against_the_loudest() -> None:
    peaks = Peaks()
    for level in (1000, 0, 4000):
        peaks.add(tone(level, FIRST_PART))

    assert list(shown(peaks)) == [63, 0, 255]


def test_pieces_need_not_end_with_the_parts() -> None:
    whole, pieces = Peaks(), Peaks()
    pcm = tone(500, 3 * FIRST_PART) + tone(3000, 2 * FIRST_PART)
    whole.add(pcm)
    for at in range(0, len(pcm), 246):
        pieces.add(pcm[at : at + 246])

    assert shown(pieces) == shown(whole)
    assert list(shown(whole)) == [42, 42, 42, 255, 255]


@pytest.mark.parametrize("seconds", [0.5, 11, 700, 36_000])
def test_any_length_has_few_parts_in_its_order(seconds: float) -> None:
    samples = int(seconds * 16_000)
    peaks = Peaks()
    peaks.add(tone(100, 320))
    peaks.skip(samples // 2)
    peaks.add(tone(200, 320))
    peaks.skip(samples - samples // 2 - 640)
    parts = shown(peaks)

    assert min(samples // FIRST_PART, MOST_PARTS // 2) <= len(parts) <= MOST_PARTS
    assert parts[0] == 127
    assert parts.index(255) / len(parts) == pytest.approx(0.5, abs=0.05)


def test_loudest_sample_of_int16_and_silence_are_no_trouble() -> None:
    loud, silent = Peaks(), Peaks()
    loud.add(array("h", [-32768] * 10).tobytes())
    silent.skip(10)

    assert (list(shown(loud)), list(shown(silent)), Peaks().to_text()) == ([255], [0], "")
