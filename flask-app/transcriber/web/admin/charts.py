"""The charts of the diagnostics page as places in a drawing: lines, areas and dots of an SVG, and what they say. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

#: Size of the drawing; the page stretches it to the room there is.
WIDTH, HEIGHT = 600.0, 100.0

Points = Sequence[float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart. The drawings are the `d` of SVG paths, by the name of what they show; `top` is the upper edge's value."""

    top: float
    drawings: Mapping[str, str] = field(default_factory=dict)
    #: Everything that was drawn, in order of time.
    values: tuple[float, ...] = ()


def charts(facts: Mapping[str, Any]) -> dict[str, Chart]:
    """Of History.facts: speed, queue and use of the GPU."""
    speed = known(facts["rtf_gpu"]) + known(facts["rtf_cpu"])
    queue = known(facts["waiting"]) + known(facts["at_work"])
    fastest, longest = round_up(max(speed, default=0.0)), max(2.0, round_up(max(queue, default=0.0)))
    return {
        "speed": Chart(
            top=fastest,
            drawings={kind: dots(facts[f"rtf_{kind}"], fastest) for kind in ("gpu", "cpu")},
            values=speed,
        ),
        "queue": Chart(
            top=longest,
            drawings={"waiting": area(facts["waiting"], longest), "at-work": line(facts["at_work"], longest)},
            values=queue,
        ),
        "gpu": Chart(top=1.0, drawings={"use": area(facts["gpu_use"], 1.0)}, values=known(facts["gpu_use"])),
    }


def minutes(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The minutes in which something went on, the newest first: `ago` and the values."""
    names = ("rtf_gpu", "rtf_cpu", "waiting", "at_work", "gpu_use")
    rows = zip(*(facts[name] for name in names), strict=True)
    found = [dict(zip(names, row, strict=True)) for row in rows]
    shown = [{"ago": len(found) - 1 - at, **row} for at, row in enumerate(found)]
    return [row for row in reversed(shown) if any(row[name] for name in names)]


def known(points: Points) -> tuple[float, ...]:
    """Those that are there."""
    return tuple(point for point in points if point is not None)


def round_up(value: float) -> float:
    """The next 1, 2 or 5 of its power of ten, for the upper edge of a chart."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))


def dots(points: Points, top: float) -> str:
    """A dot for each value: a stroke without a length, whose caps keep their shape however the drawing is stretched."""
    return "".join(f"M{x:.1f} {_y(p, top):.1f}h.01" for x, p in _placed(points) if p is not None)


def line(points: Points, top: float) -> str:
    """Steps from value to value, broken where none is known."""
    return "".join(f"M{_steps(run, top)}" for run in _runs(points))


def area(points: Points, top: float) -> str:
    """What is under the steps."""
    return "".join(f"M{run[0][0]:.1f} {HEIGHT:g}L{_steps(run, top)}V{HEIGHT:g}Z" for run in _runs(points))


def _steps(run: Sequence[tuple[float, float]], top: float) -> str:
    step = WIDTH / 60
    return "L".join(f"{x:.1f} {_y(value, top):.1f}H{x + step:.1f}" for x, value in run)


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    groups = groupby(_placed(points), lambda place: place[1] is not None)
    return [[(x, value or 0.0) for x, value in run] for is_known, run in groups if is_known]


def _placed(points: Points) -> list[tuple[float, float | None]]:
    return [(at * WIDTH / len(points), point) for at, point in enumerate(points)]


def _y(value: float, top: float) -> float:
    return HEIGHT - min(1.0, value / top) * HEIGHT
