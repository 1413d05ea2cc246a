"""Waits that double."""

from __future__ import annotations

import pytest

from transcriber.system.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (10_000, 5.0)]
)
def test_wait_doubles_up_to_the_longest(failures: int, seconds: float) -> None:
    assert Backoff(0.5, 5.0).after(failures) == seconds
