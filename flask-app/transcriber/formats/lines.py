"""Subtitle text broken into lines, and what makes a subtitle hard to read. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ..domain.edits import SPACELESS
from ..domain.transcript import Segment
from .cues import one_line

#: What subtitlers agree on, for Latin scripts: characters in a line, lines, and characters a second.
MAX_LINE = 42
MAX_LINES = 2
MAX_SPEED = 20.0

_PARTS = re.compile(rf"\s*(?:[{SPACELESS}]|[^\s{SPACELESS}]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class SubtitleFault:
    """One reason: long_line, many_lines, fast or overlap, with the number that is too large and its limit."""

    code: str
    value: float
    limit: float


def break_lines(text: str, limit: int) -> list[str]:
    """The text in lines of at most `limit` characters, as even as they can be; a longer word has its own line.

    Wide characters (Chinese, Japanese, Korean) count as two. limit 0: one line.
    """
    if limit <= 0 or width(text) <= limit:
        return [text] if text else []
    count = len(_filled(text, limit))
    # The narrowest lines that need no more of them look even.
    low, high = max(1, width(text) // (count + 1)), limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(text, middle, count) else (middle + 1, high)
    return _filled(text, low)


def width(text: str) -> int:
    """Columns: two for a wide character, none for a mark that stands over another."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def find_faults(segments: Sequence[Segment]) -> tuple[tuple[SubtitleFault, ...], ...]:
    """For each segment what makes it hard to read as a subtitle; most have nothing."""
    latest = 0.0
    found = []
    for segment in segments:
        found.append(tuple(_faults(segment, latest)) if segment.text.strip() else ())
        latest = max(latest, segment.end)
    return tuple(found)


def _faults(segment: Segment, latest: float) -> list[SubtitleFault]:
    text = one_line(segment.text)
    lines = break_lines(text, MAX_LINE)
    longest = max(map(width, lines), default=0)
    found = []
    if longest > MAX_LINE:
        found.append(SubtitleFault(code="long_line", value=longest, limit=MAX_LINE))
    if len(lines) > MAX_LINES:
        found.append(SubtitleFault(code="many_lines", value=len(lines), limit=MAX_LINES))
    speed = width(text) / max(segment.end - segment.start, 0.001)
    if speed > MAX_SPEED:
        found.append(SubtitleFault(code="fast", value=min(speed, 999.0), limit=MAX_SPEED))
    if segment.start < latest - 0.001:
        found.append(SubtitleFault(code="overlap", value=latest - segment.start, limit=0.0))
    return found


def _fits(text: str, limit: int, count: int) -> bool:
    lines = _filled(text, limit)
    return len(lines) <= count and all(width(line) <= limit for line in lines)


def _filled(text: str, limit: int) -> list[str]:
    """As much as fits on each line."""
    lines = [""]
    for part in _PARTS.findall(text):
        longer = lines[-1] + part if lines[-1] else part.lstrip()
        if lines[-1] and width(longer) > limit:
            lines.append(part.lstrip())
        else:
            lines[-1] = longer
    return [line for line in lines if line]
