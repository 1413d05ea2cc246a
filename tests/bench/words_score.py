"""What is wrong with a transcript: word errors, lost stretches, words written twice, words where nobody speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from speech_errors import Errors, normalise
from words_sounds import Spoken

#: So many words in a row are a stretch that is lost, or a repeat.
STRETCH = 4

#: A repeat stands within so many words of what it repeats.
_NEAR_WORDS = 60

#: A segment that reaches into speech by more than this share of itself is no invention, whatever its words are.
_OWN_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A segment of an answer (s)."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """lost: texts of stretches that were left out. repeats: texts written twice. invented: where nobody speaks."""

    errors: Errors = Errors()
    lost: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()

    def __add__(self, other: Score) -> Score:
        return Score(
            errors=self.errors + other.errors,
            lost=self.lost + other.lost,
            repeats=self.repeats + other.repeats,
            invented=self.invented + other.invented,
        )

    @property
    def invented_words(self) -> int:
        return sum(len(text.split()) for text in self.invented)


def score(spoken: Sequence[Spoken], language: str, pieces: Sequence[Piece]) -> Score:
    """language: whose rules the words are compared by."""
    invented = tuple(piece.text.strip() for piece in pieces if _is_invented(piece, spoken))
    reference = normalise(" ".join(part.text for part in spoken), language)
    text = normalise(" ".join(piece.text.strip() for piece in pieces), language)
    if not reference:
        return Score(errors=Errors(insertions=len(text.split())), invented=invented)
    found = jiwer.process_words(reference, text)
    words, said = found.references[0], found.hypotheses[0]
    lost, repeats = [], []
    for chunk in found.alignments[0]:
        if chunk.type == "delete" and chunk.ref_end_idx - chunk.ref_start_idx >= STRETCH:
            lost.append(" ".join(words[chunk.ref_start_idx : chunk.ref_end_idx]))
        if chunk.type == "insert" and _is_repeat(said, chunk.hyp_start_idx, chunk.hyp_end_idx):
            repeats.append(" ".join(said[chunk.hyp_start_idx : chunk.hyp_end_idx]))
    return Score(
        errors=Errors(
            substitutions=found.substitutions,
            deletions=found.deletions,
            insertions=found.insertions,
            words=len(words),
        ),
        lost=tuple(lost),
        repeats=tuple(repeats),
        invented=invented,
    )


def _is_invented(piece: Piece, spoken: Sequence[Spoken]) -> bool:
    if not piece.text.strip():
        return False
    inside = sum(max(0.0, min(piece.end, part.end) - max(piece.start, part.start)) for part in spoken)
    return inside <= _OWN_SHARE * (piece.end - piece.start)


def _is_repeat(said: Sequence[str], start: int, end: int) -> bool:
    """Whether words too many hold STRETCH words that stand nearby as well."""
    low, high = max(0, start - _NEAR_WORDS), min(len(said), end + _NEAR_WORDS)
    around = [tuple(said[at : at + STRETCH]) for at in range(low, high - STRETCH + 1)]
    return any(around.count(tuple(said[at : at + STRETCH])) > 1 for at in range(start, end - STRETCH + 1))
