"""Charts are drawn to scale, with gaps where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from transcriber.web.admin.charts import area, charts, dots, line, minutes, round_up

EMPTY: list[float | None] = [None] * 60


def facts(**changes: Any) -> dict[str, Any]:
    return {name: EMPTY for name in ("rtf_gpu", "rtf_cpu", "waiting", "at_work", "gpu_use")} | changes


@pytest.mark.parametrize(("value", "edge"), [(0, 1), (0.037, 0.05), (0.05, 0.05), (3, 5), (10, 10), (11, 20)])
def test_upper_edge_is_a_round_number(value: float, edge: float) -> None:
    assert round_up(value) == pytest.approx(edge)


def test_dots_are_at_their_minute_and_height() -> None:
    points: list[float | None] = [None] * 60
    points[0], points[30] = 0.1, 0.05

    assert dots(points, 0.1) == "M0.0 0.0h.01M300.0 50.0h.01"


def test_lines_and_areas_break_where_nothing_is_known() -> None:
    points: list[float | None] = [1, 2, None, 1, *[None] * 56]

    assert line(points, 2) == "M0.0 50.0H10.0L10.0 0.0H20.0M30.0 50.0H40.0"
    assert area(points, 2) == "M0.0 100L0.0 50.0H10.0L10.0 0.0H20.0V100ZM30.0 100L30.0 50.0H40.0V100Z"


def test_empty_hour_draws_nothing() -> None:
    drawn = charts(facts())

    assert all(not drawing for chart in drawn.values() for drawing in chart.drawings.values())
    assert minutes(facts()) == []


def test_minutes_with_something_are_told_newest_first() -> None:
    told = minutes(facts(waiting=[0] * 58 + [2, 0], rtf_cpu=[0.1] + [None] * 59))

    assert [(row["ago"], row["waiting"], row["rtf_cpu"]) for row in told] == [(1, 2, None), (59, 0, 0.1)]
