"""Segments that deserve a second look, and why: what a model that makes things up leaves behind. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .transcript import Segment, Word

#: Whisper's own limits: above this a text repeats itself, below this it was guessed, above this nobody spoke.
MAX_COMPRESSION_RATIO = 2.4
MIN_AVG_LOGPROB = -1.0
MAX_NO_SPEECH_PROB = 0.6

#: Letters a second that no speaker reaches; an auctioneer has some 25.
MAX_LETTERS_A_SECOND = 35.0

#: Longest phrase that is looked at, in words, and how often in a row within a segment makes it a repetition.
MAX_PHRASE_WORDS = 8
MIN_PHRASE_REPEATS = 4

#: So many segments in a row with the same text.
MIN_SAME_SEGMENTS = 3

#: Words the model gave less than this were guessed.
MIN_WORD_PROBABILITY = 0.5


#: The detector of voices is not sure that anybody speaks there; the model is.
FAINT = "faint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspicion:
    """One reason: repetition, compression, silence, guess, hurry or faint, and the number behind it."""

    code: str
    value: float


def find_suspicions(segments: Sequence[Segment]) -> tuple[tuple[Suspicion, ...], ...]:
    """For each segment the reasons to doubt it; most have none. A number that is not known raises none."""
    texts = [_plain(segment.text) for segment in segments]
    runs = _runs(texts)
    return tuple(
        tuple(_suspicions(segment, text, run))
        for segment, text, run in zip(segments, texts, runs, strict=True)
    )


def marked(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """The segments with their `suspect` marks."""
    found = find_suspicions(segments)
    return tuple(
        replace(segment, suspect=tuple(one.code for one in reasons))
        for segment, reasons in zip(segments, found, strict=True)
    )


def is_unsure(word: Word) -> bool:
    """Whether the model guessed this word."""
    return word.probability < MIN_WORD_PROBABILITY


def _suspicions(segment: Segment, text: str, run: int) -> list[Suspicion]:
    found = []
    repeats = max(run if run >= MIN_SAME_SEGMENTS else 0, _repeats_within(text.split()))
    if repeats:
        found.append(Suspicion(code="repetition", value=repeats))
    elif segment.compression_ratio > MAX_COMPRESSION_RATIO:
        found.append(Suspicion(code="compression", value=segment.compression_ratio))
    if segment.no_speech_prob > MAX_NO_SPEECH_PROB:
        found.append(Suspicion(code="silence", value=segment.no_speech_prob))
    if segment.avg_logprob < MIN_AVG_LOGPROB:
        found.append(Suspicion(code="guess", value=segment.avg_logprob))
    length = segment.end - segment.start
    if text and length >= 0 and len(text) > MAX_LETTERS_A_SECOND * max(length, 0.2):
        found.append(Suspicion(code="hurry", value=len(text) / max(length, 0.2)))
    if FAINT in segment.suspect:
        found.append(Suspicion(code=FAINT, value=segment.no_speech_prob))
    return found


def _runs(texts: Sequence[str]) -> list[int]:
    """For each text, how many of the same stand in a row with it."""
    runs: list[int] = []
    begin = 0
    for end in range(1, len(texts) + 1):
        if end == len(texts) or texts[end] != texts[begin]:
            runs += [end - begin if texts[begin] else 0] * (end - begin)
            begin = end
    return runs


def _repeats_within(words: Sequence[str]) -> int:
    """How often the most repeated phrase comes in a row; 0 when that is not often."""
    most = 0
    for size in range(1, min(MAX_PHRASE_WORDS, len(words) // MIN_PHRASE_REPEATS) + 1):
        same = 0
        for index in range(size, len(words)):
            same = same + 1 if words[index] == words[index - size] else 0
            most = max(most, same // size + 1)
    return most if most >= MIN_PHRASE_REPEATS else 0


def _plain(text: str) -> str:
    """The words in lower case without punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))
