"""Word times: monotone, without the pauses, with their punctuation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.child.decoding.word_timing import (
    TimedWord,
    TokenTimes,
    confine,
    merge_punctuations,
    tidy,
    time_words,
    token_times,
    usual_duration,
)


def word(text: str, start: float = 0.0, end: float = 0.0) -> TimedWord:
    return TimedWord(start=start, end=end, word=text, probability=0.5, tokens=(len(text),))


def texts(words: list[TimedWord]) -> list[str]:
    return [one.word for one in words]


def test_a_token_begins_at_its_first_step() -> None:
    pairs = [(0, 0), (0, 1), (1, 5), (1, 6), (2, 10)]

    assert token_times(pairs, 2, 0.5) == (0.0, 2.5, 5.0)


def test_a_token_the_alignment_skipped_begins_with_the_one_before() -> None:
    assert token_times([(0, 4), (2, 8)], 3, 1.0) == (4.0, 4.0, 8.0, 8.0)


def test_words_take_the_times_of_their_tokens() -> None:
    times = TokenTimes(starts=(0.0, 1.0, 2.0, 3.0), probabilities=(0.2, 0.4, 0.9))

    words = time_words([" two", " three"], [[7, 8], [9]], times, 0)

    assert [(one.start, one.end, one.tokens) for one in words] == [(0.0, 2.0, (7, 8)), (2.0, 3.0, (9,))]
    assert words[0].probability == (0.2 + 0.4) / 2


def test_punctuation_joins_its_word() -> None:
    words = [word(' "'), word(" Hello"), word(","), word(" ("), word("you"), word(")"), word("."), word('"')]

    assert texts(merge_punctuations(words)) == [' " Hello,', ' (you)."']


def test_a_pause_after_a_sentence_is_not_the_next_words() -> None:
    words = [word(" a", 0, 0.3), word(".", 0.3, 0.4), word(" b", 0.4, 4.0), word(" c", 4.0, 4.3)]

    tidied = tidy(words, 0.3, 0.0, 4.3)

    assert [(one.word, round(one.start, 2), round(one.end, 2)) for one in tidied] == [
        (" a.", 0, 0.3),
        (" b", 3.4, 4.0),
        (" c", 4.0, 4.3),
    ]


def test_a_first_word_that_is_too_long_gives_way_to_the_segments_start() -> None:
    assert tidy([word(" a", 0, 5.0)], 0.3, 4.5, 5.0)[0].start == 4.5


def test_usual_duration_is_the_median_but_at_most_0_7_s() -> None:
    assert usual_duration([word("a", 0, 0.2), word("b", 0, 0.4), word("c", 0, 9)]) == 0.4
    assert usual_duration([word("a", 0, 9)]) == 0.7
    assert usual_duration([]) == 0.0


any_words = st.lists(
    st.tuples(st.text(max_size=4), st.floats(-5, 40), st.floats(-5, 40)).map(lambda row: word(*row)),
    max_size=30,
)


@given(any_words)
def test_confined_words_are_monotone_and_inside(words: list[TimedWord]) -> None:
    confined = confine(words, 1.0, 20.0)

    times = [time for one in confined for time in (one.start, one.end)]
    assert times == sorted(times)
    assert all(1.0 <= time <= 20.0 for time in times)


@given(any_words)
def test_no_letter_and_no_token_is_lost_in_merging(words: list[TimedWord]) -> None:
    merged = merge_punctuations(words)

    assert "".join(texts(merged)) == "".join(texts(words))
    assert [t for one in merged for t in one.tokens] == [t for one in words for t in one.tokens]
