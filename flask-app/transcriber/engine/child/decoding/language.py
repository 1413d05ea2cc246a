"""Pure: which language a recording is in, by what the model makes of several stretches of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: One stretch as sure as this needs no second.
_SURE = 0.8

#: What is less likely than this is a guess.
LEAST_PROBABILITY = 0.5

#: How many of the next likeliest are named.
_ALTERNATIVES = 3

#: Language → probability, 0 to 1.
Probabilities = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectedLanguage:
    """The likeliest language, with the next likeliest after it."""

    language: str
    probability: float
    alternatives: tuple[tuple[str, float], ...] = ()


def is_sure(found: Probabilities) -> bool:
    """Whether one stretch is enough."""
    return max(found.values()) >= _SURE


def choose_language(found: Sequence[Probabilities], candidates: Sequence[str] = ()) -> DetectedLanguage:
    """The likeliest by the mean over the stretches; of the candidates only, where there are any that the model knows."""
    total: dict[str, float] = {}
    for probabilities in found:
        for language, probability in probabilities.items():
            total[language] = total.get(language, 0.0) + probability / len(found)
    wanted = {language: share for language, share in total.items() if language in candidates} or total
    # Shares of what is left; all of it may be less than a float can represent.
    whole = sum(wanted.values()) if wanted is not total else 1.0
    ranked = sorted(wanted.items(), key=lambda item: -item[1])
    shares = [(language, share / whole if whole else 1 / len(ranked)) for language, share in ranked]
    (language, probability), *rest = shares
    return DetectedLanguage(
        language=language, probability=probability, alternatives=tuple(rest[:_ALTERNATIVES])
    )
