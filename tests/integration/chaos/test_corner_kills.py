"""kill -9 while uploads become jobs, edits are saved, and old files are removed: nothing lost, nothing doubled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from corner_kills import run_kills

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_what_was_acknowledged_is_there_once(tmp_path: Path, kills: int) -> None:
    counts = run_kills(tmp_path, kills, seed=1)

    assert counts.faults == []
    assert counts.jobs > 0 and counts.edits > 0
