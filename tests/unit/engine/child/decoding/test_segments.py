"""Cutting segments: short enough to read, at the natural places, with every word once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.child.decoding.segments import MAX_CHARACTERS, MAX_SECONDS, cut, is_too_long
from transcriber.engine.child.decoding.word_timing import TimedWord


def spoken(text: str, seconds: float = 0.4, pauses: dict[str, float] | None = None) -> list[TimedWord]:
    words, now = [], 0.0
    for part in text.split():
        now += (pauses or {}).get(part, 0.0)
        words.append(TimedWord(start=now, end=now + seconds, word=f" {part}", probability=1.0, tokens=(1,)))
        now += seconds
    return words


def texts(words: list[TimedWord]) -> list[str]:
    return ["".join(word.word for word in piece).strip() for piece in cut(words)]


def test_a_short_segment_stays_whole() -> None:
    assert texts(spoken("One. Two, three.")) == ["One. Two, three."]


def test_a_long_segment_is_cut_at_the_sentence() -> None:
    text = "It was the best of times, it was the worst of times. It was the age of wisdom, it was foolish."

    assert texts(spoken(text, 0.3)) == [
        "It was the best of times, it was the worst of times.",
        "It was the age of wisdom, it was foolish.",
    ]


def test_without_a_sentence_the_comma_is_taken() -> None:
    text = "when in the course of human events it becomes necessary for one people, to dissolve the bands"

    assert texts(spoken(text, 0.3))[0].endswith("people,")


def test_without_punctuation_the_pause_is_taken() -> None:
    words = spoken("a b c d e f g h i j k l m n o p q r s t", 0.4, {"l": 1.0})

    assert texts(words)[0].endswith("k")


def test_text_without_spaces_is_cut_at_its_own_marks() -> None:
    words = [
        TimedWord(start=i * 0.2, end=i * 0.2 + 0.2, word=letter, probability=1.0, tokens=(i,))
        for i, letter in enumerate("今日はとても良い天気ですね。" * 4)
    ]

    pieces = cut(words)

    assert len(pieces) > 1
    assert all(piece[-1].word == "。" for piece in pieces)


def test_nothing_gives_nothing() -> None:
    assert cut([]) == []


words_of_any_length = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", categories=["L", "P", "Zs"]), min_size=1, max_size=100),
        st.floats(0, 12),
        st.floats(0, 3),
    ),
    max_size=60,
)


@given(words_of_any_length)
def test_every_word_once_and_only_single_words_too_long(rows: list[tuple[str, float, float]]) -> None:
    words, now = [], 0.0
    for text, seconds, pause in rows:
        words.append(
            TimedWord(start=now + pause, end=now + pause + seconds, word=text, probability=1.0, tokens=(1,))
        )
        now += pause + seconds

    pieces = cut(words)

    assert [word for piece in pieces for word in piece] == words
    for piece in pieces:
        text = "".join(word.word for word in piece)
        assert len(piece) == 1 or not is_too_long(text, piece[-1].end - piece[0].start)


def test_the_limits_are_those_promised() -> None:
    assert (MAX_SECONDS, MAX_CHARACTERS) == (7.0, 84)
    assert is_too_long("a", 7.01)
    assert is_too_long("a" * 85, 1)
    assert not is_too_long(" " + "a" * 84, 7.0)
