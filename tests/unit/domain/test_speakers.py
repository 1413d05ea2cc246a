"""Words get their speakers, and segments are cut where the speaker changes."""

from __future__ import annotations

import pytest

from transcriber.domain.speakers import attribute, speaker_id, speaker_label
from transcriber.domain.transcript import Segment, Speaker, Word
from transcriber.domain.word_speakers import Turn
from transcriptions import make_segment


def said(*words: tuple[str, float, float]) -> Segment:
    spoken = tuple(Word(start=a, end=b, word=word, probability=1.0) for word, a, b in words)
    return make_segment(
        start=spoken[0].start, end=spoken[-1].end, text="".join(one.word for one in spoken), words=spoken
    )


def turn(speaker: int, start: float, end: float) -> Turn:
    return Turn(speaker=speaker, start=start, end=end)


def test_a_segment_is_cut_where_the_speaker_changes() -> None:
    segment = said(
        (" Are", 0.0, 0.4), (" you?", 0.4, 0.9), (" Yes,", 1.2, 1.6), (" I", 1.6, 1.8), (" am.", 1.8, 2.2)
    )

    found = attribute([segment], [turn(0, 0.0, 1.0), turn(1, 1.1, 2.3)])

    assert [(one.id, one.speaker, one.text) for one in found.segments] == [
        (0, "A", " Are you?"),
        (1, "B", " Yes, I am."),
    ]
    assert [(one.start, one.end) for one in found.segments] == [(0.0, 0.9), (1.2, 2.2)]
    assert all(word.speaker == one.speaker for one in found.segments for word in one.words or ())
    assert [speaker.id for speaker in found.speakers] == ["A", "B"]
    assert found.speakers[0].seconds == pytest.approx(1.0)


def test_a_change_moves_to_the_end_of_the_sentence_near_it() -> None:
    """The diarizer's turn begins half a word early."""
    segment = said(
        (" That", 0.0, 0.3),
        (" is", 0.3, 0.5),
        (" all.", 0.5, 0.9),
        (" Good", 0.95, 1.2),
        (" night.", 1.2, 1.8),
    )

    found = attribute([segment], [turn(0, 0.0, 0.6), turn(1, 0.6, 1.9)])

    assert [(one.speaker, one.text) for one in found.segments] == [
        ("A", " That is all."),
        ("B", " Good night."),
    ]


def test_a_change_far_from_the_end_of_a_sentence_stays() -> None:
    words = [(f" w{n}", n * 0.5, n * 0.5 + 0.5) for n in range(10)]

    found = attribute([said(*words)], [turn(0, 0.0, 2.5), turn(1, 2.5, 5.0)])

    assert [len(one.words or ()) for one in found.segments] == [5, 5]


def test_words_in_a_pause_go_to_the_nearest_turn() -> None:
    segment = said((" a", 0.0, 0.2), (" b", 3.0, 3.2), (" c", 9.0, 9.2))

    found = attribute([segment], [turn(0, 0.0, 0.5), turn(1, 3.4, 4.0), turn(0, 8.0, 8.9)])

    assert [word.speaker for one in found.segments for word in one.words or ()] == ["A", "B", "A"]


def test_a_segment_without_word_times_has_the_speaker_who_speaks_most_in_it() -> None:
    segment = make_segment(start=0.0, end=4.0, words=None)

    found = attribute([segment], [turn(0, 0.0, 1.0), turn(1, 1.0, 4.0)])

    assert [one.speaker for one in found.segments] == ["A"]
    assert [one.id for one in found.speakers] == ["A"], "who has no words is left out"


def test_overlaps_are_marked() -> None:
    segment = said((" one", 0.0, 1.0), (" two.", 1.0, 2.0), (" three", 3.0, 4.0))

    found = attribute([segment], [turn(0, 0.0, 2.5), turn(1, 2.0, 4.0)])

    assert [
        (one.speaker, one.start, one.end, one.overlap)
        for one in sorted(found.turns, key=lambda t: (t.start, t.speaker))
    ] == [
        ("A", 0.0, 2.0, False),
        ("A", 2.0, 2.5, True),
        ("B", 2.0, 2.5, True),
        ("B", 2.5, 4.0, False),
    ]


def test_nothing_found_leaves_the_segments_as_they_are() -> None:
    segment = said((" a", 0.0, 1.0))

    found = attribute([segment], [])

    assert (found.segments, found.speakers, found.turns) == ((segment,), (), ())


def test_ten_thousand_words_are_attributed_quickly() -> None:
    """Linear: each word looks at the turns near it only."""
    words = [(f" w{n}", n * 0.4, n * 0.4 + 0.4) for n in range(10_000)]
    turns = [turn(n % 3, n * 2.0, n * 2.0 + 2.0) for n in range(2000)]

    found = attribute([said(*words)], turns)

    assert len(found.segments) == 2000
    assert [one.id for one in found.segments] == list(range(2000))


def test_speakers_are_lettered() -> None:
    assert [speaker_id(place) for place in (0, 1, 25, 26, 701, 702)] == ["A", "B", "Z", "AA", "ZZ", "AAA"]
    assert speaker_label(Speaker(id="B", name="Ada", seconds=1.0)) == "Ada"
    assert speaker_label(Speaker(id="C", name="", seconds=1.0)) == "Speaker C"
