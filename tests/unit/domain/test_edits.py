from __future__ import annotations

import math
import time

from hypothesis import given
from hypothesis import strategies as st

from transcriber.domain.edits import Edit, EditedSegment, align_words, apply_edit, speakers_of, with_edit
from transcriber.domain.transcript import Segment, Speaker, SpeakerTurn, Word
from transcriptions import make_segment, make_transcription, untimed

HEARD = (
    Word(start=0.0, end=0.5, word=" Hello", probability=0.4),
    Word(start=0.5, end=1.0, word=" brave", probability=0.9),
    Word(start=1.0, end=2.0, word=" new", probability=0.9),
    Word(start=2.0, end=3.0, word=" world.", probability=0.8),
)
SPOKEN = make_segment(end=3.0, text=" Hello brave new world.", words=HEARD)


def test_a_segment_that_was_not_touched_stays_as_it_is() -> None:
    edited = EditedSegment(start=0.0, end=3.0, text="Hello brave new world.", sources=(0,))

    assert apply_edit([SPOKEN], [edited]) == (SPOKEN,)


def test_words_that_were_heard_keep_their_times_and_new_ones_go_between() -> None:
    edited = EditedSegment(start=0.0, end=3.0, text="Hello bold new world.", sources=(0,))

    [made] = apply_edit([SPOKEN], [edited])

    assert made.text == " Hello bold new world."
    assert [word.word for word in made.words or ()] == [" Hello", " bold", " new", " world."]
    assert [(word.start, word.end) for word in made.words or ()][2:] == [(1.0, 2.0), (2.0, 3.0)]
    assert [word.probability for word in made.words or ()] == [0.4, 1.0, 0.9, 0.8]


def test_what_was_measured_on_another_text_is_not_kept() -> None:
    [made] = apply_edit([SPOKEN], [EditedSegment(start=0.0, end=3.0, text="Other.", sources=(0,))])

    assert made.tokens == () and math.isnan(made.avg_logprob) and math.isnan(made.no_speech_prob)


def test_halves_of_a_split_have_their_own_words() -> None:
    halves = apply_edit(
        [SPOKEN],
        [
            EditedSegment(start=0.0, end=1.0, text="Hello brave", sources=(0,)),
            EditedSegment(start=1.0, end=3.0, text="new world.", sources=(0,)),
        ],
    )

    assert [half.id for half in halves] == [0, 1]
    assert [half.words for half in halves] == [HEARD[:2], HEARD[2:]]


def test_a_merge_has_the_words_of_both() -> None:
    first = make_segment(end=1.0, text=" Hello brave", words=HEARD[:2])
    second = make_segment(id=1, start=1.0, end=3.0, text=" new world.", words=HEARD[2:])

    [made] = apply_edit(
        [first, second], [EditedSegment(start=0, end=3, text="Hello brave new world.", sources=(0, 1))]
    )

    assert made.words == HEARD


def test_moved_segment_takes_its_words_along_as_far_as_they_fit() -> None:
    [made] = apply_edit(
        [SPOKEN], [EditedSegment(start=0.5, end=3.0, text="Hello brave new world.", sources=(0,))]
    )

    assert all(0.5 <= word.start <= word.end <= 3.0 for word in made.words or ())
    assert made.tokens == SPOKEN.tokens


def test_words_are_none_where_nobody_asked_for_them() -> None:
    made = apply_edit(
        [make_segment()],
        [
            EditedSegment(start=0, end=1, text="Changed.", sources=(0,)),
            EditedSegment(start=1, end=2, text="New.", sources=(7, -1)),
        ],
    )

    assert [segment.words for segment in made] == [None, None]
    assert made[1].text == " New."


def test_segments_without_text_are_dropped_and_lines_joined() -> None:
    made = apply_edit(
        [], [EditedSegment(start=0, end=1, text=" \n "), EditedSegment(start=0, end=1, text="a\nb\tc")]
    )

    assert [(segment.id, segment.text) for segment in made] == [(0, " a b c")]


def test_text_without_spaces_stays_so() -> None:
    heard = (
        Word(start=0, end=2, word="你好", probability=0.9),
        Word(start=2, end=4, word="世界", probability=0.9),
    )
    source = make_segment(end=4.0, text="你好世界", words=heard)

    [made] = apply_edit([source], [EditedSegment(start=0, end=4, text="你好新世界", sources=(0,))])

    assert made.text == "你好新世界"
    assert [word.word for word in made.words or ()] == list("你好新世界")
    assert (made.words or ())[3].start == 2


def test_edited_transcription_keeps_its_facts() -> None:
    original = make_transcription(SPOKEN, gpu_used=True)
    segments = apply_edit([SPOKEN], [EditedSegment(start=0, end=3, text="Short.", sources=(0,))])

    edited = with_edit(original, Edit(revision=1, segments=segments))

    assert edited.transcription.text == "Short." and edited.transcription.gpu_used
    assert edited.is_edited and not with_edit(original, Edit(revision=2)).is_edited
    assert with_edit(original, Edit()).transcription is original


@untimed
@given(st.text(alphabet="ab c,你İ", max_size=30), st.floats(0, 3), st.floats(3, 6))
def test_times_rise_within_the_segment_and_no_letter_is_lost(text: str, start: float, end: float) -> None:
    made = align_words(text, start, end, HEARD)

    assert "".join(word.word for word in made) == text.rstrip()
    assert all(start <= word.start <= word.end <= end for word in made)
    assert [word.start for word in made] == sorted(word.start for word in made)


def test_a_long_rewrite_does_not_take_long() -> None:
    """Comparing 30,000 letters with 30,000 others would take minutes."""
    heard = [Word(start=at, end=at + 1, word=f" w{at}", probability=1.0) for at in range(6_000)]
    began = time.monotonic()

    made = align_words(" x1 y2" * 5_000, 0, 6_000, heard)

    assert len(made) == 10_000 and time.monotonic() - began < 10


def test_a_corrected_segment_keeps_its_channel_and_language_and_is_suspect_no_more() -> None:
    heard = make_segment(channel=1, language="es", suspect=("guess",))

    [made] = apply_edit([heard], [EditedSegment(start=0.0, end=2.5, text="Hola.", sources=(0,))])

    assert (made.channel, made.language, made.suspect) == (1, "es", ())


def said(number: int, text: str, speaker: str | None) -> Segment:
    words = (Word(start=number, end=number + 1, word=text, probability=0.9, speaker=speaker),)
    return make_segment(
        id=number, start=number, end=number + 1, text=text, words=words, tokens=(), speaker=speaker
    )


TALK = (said(0, " Hello.", "A"), said(1, " Hello!", "B"), said(2, " Goodbye.", "A"))
WHO = (Speaker(id="A", name="Ada", seconds=2.0), Speaker(id="B", name="", seconds=1.0))


def kept(*speakers: str | None) -> tuple[Segment, ...]:
    """The talk, its text as it was, with these speakers."""
    return apply_edit(
        TALK,
        [
            EditedSegment(
                start=one.start, end=one.end, text=one.text, sources=(number,), speaker=speakers[number]
            )
            for number, one in enumerate(TALK)
        ],
    )


def test_speakers_stay_where_nobody_names_others() -> None:
    assert kept(None, None, None) == TALK
    assert speakers_of(TALK, WHO, {}) == WHO


def test_a_segment_moves_to_another_speaker_with_its_words() -> None:
    moved = kept(None, "A", None)

    assert [one.speaker for one in moved] == ["A"] * 3
    assert [word.speaker for one in moved for word in one.words or ()] == ["A"] * 3


def test_a_segment_moves_to_a_speaker_who_was_not_there() -> None:
    found = speakers_of(kept(None, None, "C"), WHO, {"C": "Carol"})

    assert [(one.id, one.name, one.seconds) for one in found] == [
        ("A", "Ada", 1.0),
        ("B", "", 1.0),
        ("C", "Carol", 1.0),
    ]


def test_a_speaker_whose_segments_have_all_moved_is_gone() -> None:
    assert speakers_of(kept("B", None, "B"), WHO, {}) == (Speaker(id="B", name="", seconds=3.0),)


def test_a_name_that_is_given_stays_over_later_edits() -> None:
    named = speakers_of(TALK, WHO, {"B": "Bob"})
    later = speakers_of(kept("B", None, None), named, {})

    assert [(one.id, one.name) for one in named] == [("A", "Ada"), ("B", "Bob")]
    assert [(one.id, one.name) for one in later] == [("B", "Bob"), ("A", "Ada")]


def test_a_name_is_taken_away_by_an_empty_one() -> None:
    assert speakers_of(TALK, WHO, {"A": ""})[0].name == ""


def test_words_of_two_speakers_in_one_segment_are_the_first_ones() -> None:
    [merged] = apply_edit(TALK, [EditedSegment(start=0, end=2, text="Hello. Hello!", sources=(0, 1))])

    assert (merged.speaker, {word.speaker for word in merged.words or ()}) == ("A", {"A"})


def test_turns_of_those_who_are_gone_are_gone() -> None:
    turns = tuple(
        SpeakerTurn(speaker=one.speaker or "", start=one.start, end=one.end, overlap=False) for one in TALK
    )
    heard = make_transcription(*TALK, speakers=WHO, speaker_turns=turns)
    segments = kept("B", None, "B")
    edit = Edit(revision=1, segments=segments, speakers=speakers_of(segments, WHO, {}))

    found = with_edit(heard, edit).transcription

    assert {turn.speaker for turn in found.speaker_turns} == {"B"}
    assert [speaker.id for speaker in found.speakers] == ["B"]
