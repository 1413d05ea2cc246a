"""Word errors between two texts: the fewest words to insert, delete or replace."""

from __future__ import annotations

import re


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def word_errors(reference: str, text: str) -> tuple[int, int]:
    """Errors in the text, and words in the reference."""
    wanted, heard = words(reference), words(text)
    row = list(range(len(heard) + 1))
    for number, word in enumerate(wanted, 1):
        before, row[0] = row[0], number
        for place, other in enumerate(heard, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1], len(wanted)


def word_error_rate(pairs: list[tuple[str, str]]) -> float:
    """Errors for each word of the references, over all (reference, text) pairs."""
    counted = [word_errors(*pair) for pair in pairs]
    total = sum(count for _, count in counted)
    return sum(errors for errors, _ in counted) / total if total else 0.0
