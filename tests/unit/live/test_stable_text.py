"""Text that was shown is never taken back, and nothing of the last hypothesis is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transcriber.live.stable_text import StableText, following, units

words = st.lists(st.sampled_from(["ask", "not", "what", "your", "country", "can", "do"]), max_size=12)


def test_a_word_is_shown_when_two_hypotheses_agree_on_it() -> None:
    text = StableText()

    shown = [text.hear("And so"), text.hear("And so my fellow"), text.hear("And so my fellow Americans")]

    assert shown == ["", "And so", " my fellow"]


def test_the_end_gives_the_rest() -> None:
    text = StableText()
    text.hear("ask not")
    text.hear("ask not what")

    assert text.end("Ask not, what your country can do.") == " what your country can do."
    assert text.text == "ask not what your country can do."


def test_a_hypothesis_that_has_changed_its_mind_goes_on_behind_what_was_shown() -> None:
    assert following(units("so am"), units("so my fellow Americans")) == [" fellow", " Americans"]


def test_without_spaces_each_character_counts() -> None:
    text = StableText()
    text.hear("今天天气")

    assert text.hear("今天天气很好") == "今天天气"
    assert text.end("今天天气很好。") == "很好。"


@given(st.lists(words, min_size=1, max_size=6))
def test_what_was_shown_stays_and_deltas_add_up(hypotheses: list[list[str]]) -> None:
    text, shown = StableText(), ""

    for hypothesis in hypotheses[:-1]:
        shown += text.hear(" ".join(hypothesis))
        assert text.text == shown
    shown += text.end(" ".join(hypotheses[-1]))

    assert text.text == shown


@given(words)
def test_one_look_is_its_own_text(hypothesis: list[str]) -> None:
    text = StableText()

    text.end(" ".join(hypothesis))

    assert text.text == " ".join(hypothesis)
