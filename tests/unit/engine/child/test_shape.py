"""How an engine divides its cores."""

from __future__ import annotations

import pytest

from transcriber.engine.child.batching import LanePlan
from transcriber.engine.child.shape import choose_shape


@pytest.mark.parametrize(
    ("cores", "threads", "lanes", "expected"),
    [
        (1, 0, 0, (1, 1)),
        (2, 0, 0, (2, 1)),
        (4, 0, 0, (2, 2)),
        (7, 0, 0, (2, 3)),
        (16, 0, 0, (4, 4)),
        (16, 2, 0, (2, 1)),
        (2, 0, 1, (1, 2)),
        (2, 0, 8, (8, 1)),
        (2, 1, 0, (1, 1)),
    ],
)
def test_lanes_share_the_threads(cores: int, threads: int, lanes: int, expected: tuple[int, int]) -> None:
    shape = choose_shape("cpu", cores, threads=threads, lanes=lanes)

    assert (shape.lanes.shared, shape.threads) == expected
    assert shape.lanes.has_short


def test_a_gpu_takes_one_batch_at_a_time() -> None:
    assert choose_shape("cuda", 16, threads=0, lanes=4).lanes == LanePlan()
