"""A load test as tables and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .measuring import Level

_COLOURS = ("#2563eb", "#dc2626", "#16a34a", "#9333ea", "#ea580c", "#0891b2", "#4b5563", "#be185d")
_LEFT, _TOP, _WIDTH, _HEIGHT = 60, 40, 640, 300


def table(levels: Sequence[Level]) -> str:
    """One line a level."""
    head = f"{'server':28} {'clients':>7} {'failed':>7} {'p50 s':>7} {'p95 s':>7} {'p99 s':>7} {'jitter s':>8} {'audio s/s':>9} {'GPU':>5}  ran on"
    rows = [
        f"{level.name:28} {level.clients:7} {level.failed:3}/{level.requests:<3} {level.p50:7.2f} {level.p95:7.2f} "
        f"{level.p99:7.2f} {level.jitter:8.2f} {level.throughput:9.1f} {_percent(level.utilization):>5}  "
        f"{', '.join(level.devices) or level.error}"
        for level in levels
    ]
    return "\n".join([head, *rows])


def stage_table(levels: Sequence[Level]) -> str:
    """Mean seconds by stage: a column for each subject, at its fewest clients."""
    first = {level.name: level for level in reversed(levels)}
    columns = [first[name] for name in dict.fromkeys(level.name for level in levels)]
    stages = dict.fromkeys(stage for level in columns for stage in level.stages)
    width = max([20, *(len(level.name) for level in columns)])
    lines = [" ".join([f"{'seconds by stage':20}", *(f"{level.name:>{width}}" for level in columns)])]
    lines += [
        " ".join([f"{stage:20}", *(f"{level.stages.get(stage, 0.0):{width}.3f}" for level in columns)])
        for stage in stages
    ]
    return "\n".join(lines)


def together_table(alone: Sequence[Level], together: Sequence[Level]) -> str:
    """Each server beside the others, against the first one alone."""
    one = alone[0]
    times = max(level.p50 for level in together) / one.p50 if one.p50 else 0.0
    total = sum(level.throughput for level in together)
    answered = 1 - sum(level.failed for level in together) / sum(level.requests for level in together)
    return "\n".join(
        [
            table([*alone, *together]),
            f"{len(together)} together: {answered:.1%} answered, p50 up to {times:.1f} times that of one alone, "
            f"jitter {max(level.jitter for level in together):.2f} s (alone {one.jitter:.2f} s), "
            f"{total:.1f} s of audio in a second (alone {one.throughput:.1f})",
        ]
    )


def to_svg(levels: Sequence[Level]) -> str:
    """Seconds by clients: p50 as a line, p95 as a dashed one, p99 as dots; a colour for each subject."""
    names = list(dict.fromkeys(level.name for level in levels))
    counts = sorted({level.clients for level in levels})
    top = max((level.p99 for level in levels), default=1.0) or 1.0
    parts = [_axes(counts, top)]
    for number, name in enumerate(names):
        rows = [level for level in levels if level.name == name]
        colour = _COLOURS[number % len(_COLOURS)]
        for attribute, dash in (("p50", ""), ("p95", ' stroke-dasharray="6 4"')):
            points = " ".join(
                f"{_x(counts, row.clients):.1f},{_y(top, getattr(row, attribute)):.1f}" for row in rows
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
            )
        parts += [
            f'<circle cx="{_x(counts, row.clients):.1f}" cy="{_y(top, row.p99):.1f}" r="3" fill="{colour}"/>'
            for row in rows
        ]
        parts.append(
            f'<text x="{_LEFT + 10}" y="{_TOP + 16 + number * 18}" fill="{colour}">{escape(name)}</text>'
        )
    title = "Seconds until the transcript, by clients at once: p50, p95 (dashed), p99 (dots)"
    size = f"{_LEFT + _WIDTH + 40} {_TOP + _HEIGHT + 40}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="13">'
        f'<title>{title}</title><rect width="100%" height="100%" fill="#fff"/><text x="10" y="22">{title}</text>'
        f"{''.join(parts)}</svg>\n"
    )


def _axes(counts: Sequence[int], top: float) -> str:
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT
    lines = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#000"/>']
    lines += [
        f'<text x="{_x(counts, count):.1f}" y="{bottom + 18}" text-anchor="middle">{count}</text>'
        for count in counts
    ]
    for part in range(5):
        value = top * part / 4
        lines.append(
            f'<text x="{_LEFT - 6}" y="{_y(top, value) + 4:.1f}" text-anchor="end">{value:.1f}</text>'
        )
    return "".join(lines)


def _x(counts: Sequence[int], clients: int) -> float:
    """Numbers of clients stand at equal distances: they double."""
    return _LEFT + 20 + (_WIDTH - 40) * counts.index(clients) / max(1, len(counts) - 1)


def _y(top: float, seconds: float) -> float:
    return _TOP + _HEIGHT - _HEIGHT * seconds / top


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
