from __future__ import annotations

import math

import pytest

from transcriber.domain.suspicions import find_suspicions, marked
from transcriptions import make_segment


def codes(*segments: object) -> list[list[str]]:
    return [[one.code for one in found] for found in find_suspicions(segments)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"compression_ratio": 2.4}, []),
        ({"compression_ratio": 2.5}, ["compression"]),
        ({"no_speech_prob": 0.61}, ["silence"]),
        ({"avg_logprob": -1.1}, ["guess"]),
        ({"text": " No, no, no."}, []),
        ({"text": " No, no, no, no!"}, ["repetition"]),
        ({"text": " Thank you. Thank you. Thank you. Thank you."}, ["repetition"]),
        ({"text": " x" * 200, "end": 2.0}, ["repetition", "hurry"]),
        ({"text": " Far too many words for half a second.", "end": 0.5}, ["hurry"]),
        ({"compression_ratio": math.nan, "avg_logprob": math.nan, "no_speech_prob": math.nan}, []),
        ({"end": math.nan}, []),
        ({"text": ""}, []),
        ({"suspect": ("faint",)}, ["faint"]),
        ({"suspect": ("guess",)}, []),
    ],
)
def test_segment_is_suspected_for_a_reason(changes: dict[str, object], expected: list[str]) -> None:
    assert codes(make_segment(**changes)) == [expected]


def test_same_text_three_times_in_a_row_is_a_repetition() -> None:
    same = [make_segment(id=at, text=text) for at, text in enumerate([" Bye.", " bye", " Bye!"])]

    assert codes(make_segment(), *same[:2]) == [[], [], []]
    assert codes(make_segment(), *same) == [[], ["repetition"], ["repetition"], ["repetition"]]
    assert find_suspicions(same)[0][0].value == 3


def test_a_repetition_says_so_once() -> None:
    assert codes(make_segment(text=" a b" * 6, compression_ratio=3.0)) == [["repetition"]]


def test_nothing_is_suspected_of_nothing() -> None:
    assert find_suspicions([]) == ()


def test_marks_say_why() -> None:
    said, guessed = marked(
        [make_segment(suspect=("guess",)), make_segment(avg_logprob=-1.2, suspect=("faint",))]
    )

    assert said.suspect == ()
    assert guessed.suspect == ("guess", "faint")
