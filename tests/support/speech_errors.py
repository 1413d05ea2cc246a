"""Word errors of a transcript against its reference text.

Normaliser: Whisper's EnglishTextNormalizer for English, its BasicTextNormalizer for the other languages;
then digits are spelled out in both texts, since the model writes "1, 2, 3". In English ten is "one zero", as the
normaliser makes "910" of "nine ten".
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import jiwer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package's own source has invalid escapes
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

_DIGITS = "zero one two three four five six seven eight nine".split()
_ENGLISH = EnglishTextNormalizer()
_BASIC = BasicTextNormalizer()

#: Languages written without spaces are compared by characters, and one word counts as three of them.
WITHOUT_SPACES = frozenset({"ja", "zh"})


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Words that are wrong, missing and too many, of so many in the reference."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    words: int = 0

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        return self.total / self.words if self.words else 0.0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            words=self.words + other.words,
        )


def normalise(text: str, language: str) -> str:
    # Whisper's English normaliser turns words into digits, so a run of digits is taken apart first.
    plain = _ENGLISH(re.sub(r"(?<=[0-9])[-,]+\s*(?=[0-9])", " ", text)) if language == "en" else _BASIC(text)
    spelled = " ".join(_spell_out(plain, "one zero" if language == "en" else "ten").split())
    return " ".join(spelled.replace(" ", "")) if language in WITHOUT_SPACES else spelled


def count_errors(reference: str, text: str, language: str = "en") -> Errors:
    found = jiwer.process_words(normalise(reference, language), normalise(text, language))
    return Errors(
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
        words=found.substitutions + found.deletions + found.hits,
    )


def _spell_out(text: str, ten: str) -> str:
    """Numbers up to ten as words, larger ones digit by digit."""

    def words(match: re.Match[str]) -> str:
        number = match[0]
        return f" {ten} " if number == "10" else " " + " ".join(_DIGITS[int(digit)] for digit in number) + " "

    return re.sub(r"[0-9]+", words, text)
