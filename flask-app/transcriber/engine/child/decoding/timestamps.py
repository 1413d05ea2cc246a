"""Pure reading of a window's tokens: which text belongs between which timestamps, and where to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Seconds of one step of the timestamp tokens.
TIME_PRECISION = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """Tokens between two timestamps, in seconds from the window's start; tokens include the timestamps."""

    start: float
    end: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedWindow:
    """The drafts of one window. resume_at: where the written text ends, None if it fills the window.

    closed: the model itself said that no speech follows after resume_at.
    """

    drafts: tuple[Draft, ...]
    resume_at: float | None
    closed: bool


def parse_window(
    tokens: Sequence[int], timestamp_begin: int, duration: float, *, truncated: bool
) -> ParsedWindow:
    """Split at pairs of timestamps. truncated: the model ran out of room in mid-text."""
    pairs = [
        position
        for position in range(1, len(tokens))
        if tokens[position] >= timestamp_begin and tokens[position - 1] >= timestamp_begin
    ]
    bounds = [0, *pairs]
    drafts = [
        _draft(tokens[low:high], timestamp_begin, duration) for low, high in zip(bounds, pairs, strict=False)
    ]
    tail = tokens[bounds[-1] :]
    if drafts and (truncated or _is_empty(tail, timestamp_begin)):
        # An unfinished tail is written again from the last timestamp on; so is what follows an open end.
        return ParsedWindow(drafts=tuple(drafts), resume_at=drafts[-1].end, closed=False)
    drafts.append(_draft(tail, timestamp_begin, duration))
    closed = bool(tail) and tail[-1] >= timestamp_begin
    return ParsedWindow(drafts=tuple(drafts), resume_at=drafts[-1].end if closed else None, closed=closed)


def _is_empty(tail: Sequence[int], timestamp_begin: int) -> bool:
    return all(token >= timestamp_begin for token in tail)


def _draft(tokens: Sequence[int], timestamp_begin: int, duration: float) -> Draft:
    """A draft from its own first and last timestamp, inside the window."""
    stamps = [(token - timestamp_begin) * TIME_PRECISION for token in tokens if token >= timestamp_begin]
    opens = bool(tokens) and tokens[0] >= timestamp_begin
    closes = len(tokens) > 1 and tokens[-1] >= timestamp_begin
    start = min(stamps[0], duration) if opens else 0.0
    end = min(stamps[-1], duration) if closes else duration
    return Draft(start=start, end=max(start, end), tokens=tuple(tokens))
