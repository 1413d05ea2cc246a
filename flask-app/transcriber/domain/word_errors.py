"""How far a text is from the words that were expected."""

from __future__ import annotations

import re


def word_errors(text: str, expected: str) -> float:
    """Words that are wrong, missing or too many, for each expected word."""
    heard, wanted = words_of(text), words_of(expected)
    row = list(range(len(heard) + 1))
    for i, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1] / max(len(wanted), 1)


def words_of(text: str) -> list[str]:
    """The words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())
