"""Prompts stay within the model's room."""

from __future__ import annotations

from transcriber.engine.child.decoding.prompts import MAX_PREVIOUS_TOKENS, max_new_tokens, previous_tokens


def test_no_text_no_prompt() -> None:
    assert previous_tokens(9, [], []) == ()


def test_hotwords_go_before_the_text() -> None:
    assert previous_tokens(9, [1, 2], [3]) == (9, 1, 2, 3)


def test_the_end_of_the_text_and_the_beginning_of_the_hotwords_are_kept() -> None:
    text = list(range(1000))

    assert previous_tokens(9, [], text) == (9, *text[-MAX_PREVIOUS_TOKENS:])
    assert previous_tokens(9, text, [5]) == (9, *text[:MAX_PREVIOUS_TOKENS])
    assert len(previous_tokens(9, text[:200], text)) == 1 + MAX_PREVIOUS_TOKENS


def test_half_the_models_room_is_for_the_answer() -> None:
    assert max_new_tokens(3) == 224
    assert max_new_tokens(300) == 148
