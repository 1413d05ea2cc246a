"""What goes before the start-of-transcript token: hotwords and the text so far, within the model's room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....domain.transcript import Notice
from .temperature_fallback import PROMPT_RESET_TEMPERATURE

#: Tokens a model takes in all, prompt and answer.
MAX_LENGTH = 448

#: Half of them, less the token that opens the prompt: as much as Whisper was trained on.
MAX_PREVIOUS_TOKENS = MAX_LENGTH // 2 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptParts:
    """Tokens of the job's hotwords and initial prompt, and the token that opens a prompt."""

    sot_prev: int
    hotwords: tuple[int, ...] = ()
    initial_prompt: tuple[int, ...] = ()
    notices: tuple[Notice, ...] = ()


def previous_tokens(sot_prev: int, hotwords: Sequence[int], text: Sequence[int]) -> tuple[int, ...]:
    """Tokens before start-of-transcript. Hotwords are cut at their end, the text at its beginning."""
    kept_hotwords = tuple(hotwords[:MAX_PREVIOUS_TOKENS])
    room = MAX_PREVIOUS_TOKENS - len(kept_hotwords)
    kept_text = tuple(text[-room:]) if room else ()
    if not kept_hotwords and not kept_text:
        return ()
    return (sot_prev, *kept_hotwords, *kept_text)


def remember(text: Sequence[int], written: Sequence[int], temperature: float) -> tuple[int, ...]:
    """The text so far with what was just written at this temperature; nothing is built on a text that was guessed."""
    if temperature > PROMPT_RESET_TEMPERATURE:
        return ()
    return (*text, *written)[-MAX_PREVIOUS_TOKENS:]


def max_new_tokens(prompt_length: int) -> int:
    """Tokens CTranslate2 writes at most after a prompt of this length."""
    return min(MAX_LENGTH // 2, MAX_LENGTH - prompt_length)
