"""The bench of speakers: mixes that are the same each time, and a score that is right by hand."""

from __future__ import annotations

import numpy as np
import pytest

from speakers_mixes import RATE, mix, voices
from speakers_score import DiarizationScore, pair_speakers, score
from speakers_words import ChangeScore, SaidWord, said
from speakers_words import score as score_words

ADA, BOB = ("ada", 0.0, 10.0), ("bob", 10.0, 20.0)


def test_answer_that_is_right_under_other_names_has_no_error() -> None:
    found = score([ADA, BOB], [(7, 0.0, 10.0), (3, 10.0, 20.0)], collar=0.0)

    assert (found.error, found.speech, found.right_number) == (0.0, 20.0, 1)


@pytest.mark.parametrize(
    ("answer", "missed", "false_alarm", "confusion"),
    [
        ([], 20.0, 0.0, 0.0),
        ([(0, 0.0, 20.0)], 0.0, 0.0, 10.0),
        ([(0, 0.0, 10.0), (1, 10.0, 25.0)], 0.0, 5.0, 0.0),
        ([(0, 0.0, 10.0), (1, 5.0, 20.0)], 0.0, 5.0, 0.0),
        ([(0, 0.0, 12.0), (1, 12.0, 18.0)], 2.0, 0.0, 2.0),
    ],
)
def test_what_counts_as_what(
    answer: list[tuple[int, float, float]], missed: float, false_alarm: float, confusion: float
) -> None:
    found = score([ADA, BOB], answer, collar=0.0)

    assert found.missed == pytest.approx(missed)
    assert found.false_alarm == pytest.approx(false_alarm)
    assert found.confusion == pytest.approx(confusion)
    assert found.error == pytest.approx((missed + false_alarm + confusion) / 20)


def test_overlapped_speech_counts_for_each_who_speaks() -> None:
    found = score([("ada", 0.0, 10.0), ("bob", 5.0, 15.0)], [(0, 0.0, 10.0), (1, 10.0, 15.0)], collar=0.0)

    assert (found.speech, found.missed) == (20.0, pytest.approx(5.0))


def test_time_around_a_boundary_is_left_out() -> None:
    found = score([ADA, BOB], [(0, 0.0, 10.2), (1, 10.2, 20.0)], collar=0.25)

    assert (found.error, found.speech) == (0.0, pytest.approx(19.0))


def test_pairs_have_the_most_time_in_common() -> None:
    found = [(1, 0.0, 6.0), (2, 6.0, 14.0), (3, 14.0, 20.0)]

    pairs = pair_speakers([ADA, BOB], found)

    assert set(pairs.values()) == {"ada", "bob"}
    assert pairs[1] == "ada" and pairs[3] == "bob"


def test_scores_add_up() -> None:
    one = score([ADA], [(0, 0.0, 5.0)], collar=0.0)

    assert (one + one).error == one.error == 0.5
    assert (one + DiarizationScore()).recordings == 1


def test_mix_is_the_same_to_the_sample_and_as_it_says() -> None:
    one, same, other = (mix(2, seed, seconds=12, among=("en", "ja")) for seed in (7, 7, 8))

    assert np.array_equal(one.sound, same.sound) and one.turns == same.turns
    assert not np.array_equal(one.sound[: RATE * 5], other.sound[: RATE * 5])
    assert {spoken.voice for spoken in one.spoken} == {"en", "ja"}
    assert all(0 <= spoken.start < spoken.end <= one.seconds for spoken in one.spoken)
    assert np.abs(one.sound).max() <= 0.96


def test_nine_voices_are_at_hand() -> None:
    assert sorted(voices()) == ["en", "es", "fr", "hi", "it", "ja", "jfk", "librivox", "zh"]


def words(text: str, voice: str, near: str) -> list[SaidWord]:
    return [SaidWord(word, voice, word in near.split()) for word in text.split()]


def test_words_at_changes_are_matched_by_what_is_said() -> None:
    reference = words("we begin here now", "ada", "here now") + words("no i do", "bob", "no i")
    heard = [("We", "A"), (" begin", "A"), (" here", "A"), (" now.", "B"), (" I", "B"), (" do", "B")]

    assert score_words(reference, heard) == ChangeScore(words=3, right=2)


def test_text_next_to_a_change_is_near_it() -> None:
    talk = mix(2, 3000, seconds=40, among=("en", "librivox"))

    near = [word for word in said(talk) if word.is_near]

    assert {word.voice for word in near} == {"en", "librivox"}
    assert len(near) < len(said(talk))
