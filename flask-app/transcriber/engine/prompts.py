"""What goes before the start-of-transcript token: hotwords and the text so far, within the model's room."""

from __future__ import annotations

from collections.abc import Sequence

#: Tokens a model takes in all, prompt and answer.
MAX_LENGTH = 448

#: Half of them, less the token that opens the prompt: as much as Whisper was trained on.
MAX_PREVIOUS_TOKENS = MAX_LENGTH // 2 - 1


def previous_tokens(sot_prev: int, hotwords: Sequence[int], text: Sequence[int]) -> tuple[int, ...]:
    """Tokens before start-of-transcript. Hotwords are cut at their end, the text at its beginning."""
    kept_hotwords = tuple(hotwords[:MAX_PREVIOUS_TOKENS])
    room = MAX_PREVIOUS_TOKENS - len(kept_hotwords)
    kept_text = tuple(text[-room:]) if room else ()
    if not kept_hotwords and not kept_text:
        return ()
    return (sot_prev, *kept_hotwords, *kept_text)


def max_new_tokens(prompt_length: int) -> int:
    """Tokens CTranslate2 writes at most after a prompt of this length."""
    return min(MAX_LENGTH // 2, MAX_LENGTH - prompt_length)
