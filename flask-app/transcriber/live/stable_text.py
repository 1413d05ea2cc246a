"""Which words of a hypothesis are stable: what was shown is never taken back. Pure.

A word is stable once two hypotheses in a row, the second with more sound, agree on it and on all before it (LocalAgreement-2).
Of languages that are written without spaces, each character counts as a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_NO_WORD = re.compile(r"[^\w']+")

#: Thai, Lao, Burmese, Khmer, kana and the Han characters.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_UNITS = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")


@dataclass(slots=True)
class StableText:
    """The text of one utterance as it grows."""

    _shown: list[str] = field(default_factory=list)
    _last: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What was shown."""
        return "".join(self._shown)

    def hear(self, text: str) -> str:
        """A new hypothesis: the text that became stable by it, to be appended to what was shown."""
        rest = following(self._shown, units(text))
        agreed = _agreed(self._last, rest)
        self._last = rest[len(agreed) :]
        return self._append(agreed)

    def end(self, text: str) -> str:
        """The last hypothesis, over all of the sound: the rest of the text."""
        return self._append(following(self._shown, units(text)))

    def _append(self, more: list[str]) -> str:
        if not more:
            return ""
        is_spaced = more[0][:1].isspace() or re.match(f"[{_UNSPACED}]", more[0])
        if self._shown and not is_spaced:
            more = [" " + more[0], *more[1:]]
        self._shown += more
        return "".join(more)


def units(text: str) -> list[str]:
    """Words, or characters, each with the space before it."""
    return _UNITS.findall(text.strip())


def following(shown: Sequence[str], hypothesis: Sequence[str]) -> list[str]:
    """The words of a hypothesis that come after those that were shown, also where it has changed its mind about them."""
    if not shown:
        return list(hypothesis)
    known = [_plain(word) for word in shown]
    # Of all beginnings of the hypothesis, the one that is the fewest changes away from what was shown.
    row = list(range(len(known) + 1))
    costs = [row[-1]]
    for word in map(_plain, hypothesis):
        before, row = row, [row[0] + 1]
        for place, other in enumerate(known):
            row.append(min(before[place] + (word != other), before[place + 1] + 1, row[place] + 1))
        costs.append(row[-1])
    best = min(range(len(costs)), key=lambda place: (costs[place], abs(place - len(known))))
    return list(hypothesis[best:])


def _agreed(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The newer spelling of the words with which both begin."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if _plain(left) != _plain(right):
            break
        count += 1
    return list(other[:count])


def _plain(word: str) -> str:
    """The word without its case and punctuation; what is nothing else stays."""
    return _NO_WORD.sub("", word).casefold() or word
