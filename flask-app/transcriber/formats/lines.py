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


@dataclass(frozen=True, slots=True)
class _Part:
    """A word with the space before it; and how wide it is with it, and without."""

    text: str
    width: int
    bare: str
    bare_width: int

    @classmethod
    def of(cls, text: str) -> _Part:
        bare = text.lstrip()
        return cls(text, width(text), bare, width(bare))


@dataclass(slots=True)
class _Line:
    """Parts on one line."""

    texts: list[str]
    width: int


def break_lines(text: str, limit: int) -> list[str]:
    """The text in lines of at most `limit` characters, as even as they can be; a longer word has its own line.

    Wide characters (Chinese, Japanese, Korean) count as two. limit 0: one line.
    """
    total = width(text) if limit > 0 else 0
    if total <= limit or limit <= 0:
        return [text] if text else []
    parts = [_Part.of(part) for part in _PARTS.findall(text.rstrip())]
    count = len(_filled(parts, limit))
    # The narrowest lines that need no more of them look even.
    low, high = max(1, total // (count + 1)), limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(parts, middle, count) else (middle + 1, high)
    return ["".join(line.texts) for line in _filled(parts, low)]


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


def _fits(parts: Sequence[_Part], limit: int, count: int) -> bool:
    lines = _filled(parts, limit)
    return len(lines) <= count and all(line.width <= limit for line in lines)


def _filled(parts: Sequence[_Part], limit: int) -> list[_Line]:
    """As much as fits on each line. Widths are added up: each part is measured once."""
    lines: list[_Line] = []
    for part in parts:
        if lines and lines[-1].width + part.width <= limit:
            lines[-1].texts.append(part.text)
            lines[-1].width += part.width
        else:
            lines.append(_Line([part.bare], part.bare_width))
    return lines
