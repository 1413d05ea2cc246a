"""The gate's report: text for people, JSON for programs and as the next baseline, a picture for both sides."""

from __future__ import annotations

from html import escape
from typing import Any

from .judgement import Check
from .measurement import Measurement

_BAR, _ROW, _LEFT, _WIDTH = 18, 52, 190, 720


def to_dict(found: Measurement, checks: tuple[Check, ...], baseline: Measurement | None) -> dict[str, Any]:
    """The whole report."""
    return {
        "url": found.url,
        "passed": all(check.passed for check in checks),
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "measured": check.measured,
                "limit": check.limit,
                "fix": check.fix,
            }
            for check in checks
        ],
        "measurement": found.to_dict(),
        "baseline": None if baseline is None else baseline.url,
    }


def to_text(found: Measurement, checks: tuple[Check, ...]) -> str:
    """One line a check, then the verdict."""
    lines = [f"{found.url}: {found.verdict}"]
    for check in checks:
        lines.append(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.measured} ({check.limit})")
        if not check.passed and check.fix:
            lines.append(f"     fix: {check.fix}")
    load = found.load
    lines.append(
        f"{load.requests} requests by {load.clients} clients: p50 {load.p50:.2f} s, p95 {load.p95:.2f} s, "
        f"{load.throughput:.1f} s of audio in a second"
    )
    failed = sum(not check.passed for check in checks)
    lines.append(
        f"{failed} of {len(checks)} checks failed." if failed else f"All {len(checks)} checks passed."
    )
    return "\n".join(lines)


def to_svg(found: Measurement, baseline: Measurement | None) -> str:
    """Bars of latency and throughput, with the baseline's below each."""
    rows = [
        ("latency p50, s", "p50"),
        ("latency p95, s", "p95"),
        ("throughput, s of audio/s", "throughput"),
    ]
    parts = []
    for number, (label, name) in enumerate(rows):
        now = float(getattr(found.load, name))
        then = None if baseline is None else float(getattr(baseline.load, name))
        top = 40 + number * _ROW
        scale = (_WIDTH - _LEFT - 80) / (max(now, then or 0.0) or 1.0)
        parts.append(f'<text x="10" y="{top + 14}">{escape(label)}</text>')
        parts.append(_bar(top, now, scale, "#2563eb"))
        if then is not None:
            parts.append(_bar(top + _BAR + 3, then, scale, "#9ca3af"))
    title = escape(f"{found.url} (blue)" + (f", baseline {baseline.url} (grey)" if baseline else ""))
    height = 40 + len(rows) * _ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13"><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="#fff"/><text x="10" y="22">{title}</text>{"".join(parts)}</svg>\n'
    )


def _bar(top: int, value: float, scale: float, colour: str) -> str:
    width = max(1.0, value * scale)
    return (
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        f'<text x="{_LEFT + width + 6:.1f}" y="{top + 14}">{value:.2f}</text>'
    )
