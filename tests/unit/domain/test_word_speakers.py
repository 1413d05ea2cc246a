"""Words at changes of speakers: the end of a sentence beats times that are off; a pause, a short reply, and talk over one another."""

from __future__ import annotations

import pytest

from transcriber.domain.transcript import Segment, Word
from transcriber.domain.word_speakers import Turn, speakers_of_words
from transcriptions import make_segment


def said(start: float, text: str, pace: float = 0.3) -> Segment:
    """Words at an even pace; a number in the text is a pause, in seconds."""
    words = []
    for one in text.split():
        if one.replace(".", "", 1).isdigit():
            start += float(one)
            continue
        words.append(Word(start=start, end=start + pace, word=f" {one}", probability=1.0))
        start += pace
    return make_segment(start=words[0].start, end=words[-1].end, words=tuple(words))


def turn(speaker: int, start: float, end: float) -> Turn:
    return Turn(speaker=speaker, start=start, end=end)


@pytest.mark.parametrize("heard", [1.5, 1.8, 2.1])
def test_sentence_ends_the_turn_where_its_time_is_off(heard: float) -> None:
    segment = said(0.0, "you can do for your country. The quick brown fox jumps over")

    found = speakers_of_words([segment], [turn(0, 0.0, heard), turn(1, heard, 3.6)])

    assert found == [0] * 6 + [1] * 6


def test_talk_over_one_another_is_parted_at_the_sentence() -> None:
    """The second begins a second before the first ends; the words come one speaker after the other."""
    segment = said(0.0, "and that is all there is. Good night to all of you")

    found = speakers_of_words([segment], [turn(0, 0.0, 2.4), turn(1, 1.3, 3.7)])

    assert found == [0] * 6 + [1] * 6


def test_short_reply_within_a_long_turn_has_its_words() -> None:
    segment = said(0.0, "he had been made amiable himself. Hello, world. Unless to be cold is selfish.")

    found = speakers_of_words([segment], [turn(0, 0.0, 4.2), turn(1, 1.8, 2.4)])

    assert found == [0] * 6 + [1] * 2 + [0] * 6


def test_change_within_a_sentence_stays_where_it_was_heard() -> None:
    segment = said(0.0, "one two three four five six seven eight nine ten")

    found = speakers_of_words([segment], [turn(0, 0.0, 1.5), turn(1, 1.5, 3.0)])

    assert found == [0] * 5 + [1] * 5


def test_pause_parts_words_without_punctuation() -> None:
    segment = said(0.0, "jedna dwa trzy 0.8 cztery pięć sześć")

    found = speakers_of_words([segment], [turn(0, 0.0, 1.2), turn(1, 1.2, 3.0)])

    assert found == [0] * 3 + [1] * 3


def test_one_word_in_a_crack_between_turns_is_no_change() -> None:
    segment = said(0.0, "one two three four five six seven eight nine ten")

    found = speakers_of_words([segment], [turn(0, 0.0, 1.2), turn(1, 1.2, 1.35), turn(0, 1.35, 3.0)])

    assert found == [0] * 10


def test_words_without_length_are_points_in_time() -> None:
    words = tuple(Word(start=1.0, end=1.0, word=f" w{n}", probability=1.0) for n in range(4))
    segment = make_segment(start=1.0, end=1.0, words=words)

    assert speakers_of_words([segment], [turn(3, 0.0, 0.5), turn(5, 0.9, 2.0)]) == [5] * 4


def test_words_far_from_all_turns_stay_with_the_speaker_before() -> None:
    segment = said(0.0, "one two three 60 four five")

    assert speakers_of_words([segment], [turn(0, 0.0, 0.2), turn(1, 0.2, 1.0)]) == [1] * 5


def test_no_words_have_no_speakers() -> None:
    assert speakers_of_words([make_segment(words=None)], [turn(0, 0.0, 1.0)]) == []
