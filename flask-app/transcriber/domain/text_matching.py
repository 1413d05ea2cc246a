"""What two sequences have in common, for a counted number of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate
from typing import TypeVar

from .work_budget import WorkBudget

Item = TypeVar("Item", bound=Hashable)

#: One comparison takes at most this part of what is left, so that one long stretch leaves something for the others.
MOST_STEPS = 500_000


def matching_blocks(a: Sequence[Item], b: Sequence[Item], budget: WorkBudget) -> list[Match]:
    """Blocks that both have in the same order, in order, as difflib finds them: the longest first, then on both sides.

    Near-periodic text makes difflib cubic. Where the budget ends, the stretches that are left count as different.
    """
    matcher: SequenceMatcher[Item] = SequenceMatcher(None, a, b, autojunk=False)
    costs = _costs(a, b)
    left = MOST_STEPS
    found: list[Match] = []
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        a_low, a_high, b_low, b_high = waiting.pop()
        steps = costs[a_high] - costs[a_low] + 1
        if steps > left or not budget.affords(steps):
            continue
        left -= steps
        match = matcher.find_longest_match(a_low, a_high, b_low, b_high)
        if not match.size:
            continue
        found.append(match)
        if a_low < match.a and b_low < match.b:
            waiting.append((a_low, match.a, b_low, match.b))
        if match.a + match.size < a_high and match.b + match.size < b_high:
            waiting.append((match.a + match.size, a_high, match.b + match.size, b_high))
    return sorted(found)


def _costs(a: Sequence[Item], b: Sequence[Item]) -> list[int]:
    """Steps up to each place of a: difflib goes through all places in b of every item of a."""
    counts = Counter(b)
    return list(accumulate(_each(a, counts), initial=0))


def _each(a: Sequence[Item], counts: Counter[Item]) -> Iterator[int]:
    return (1 + counts[item] for item in a)
