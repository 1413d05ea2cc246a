"""The tests' own folders: no module lies flat beside them."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_helpers_lie_in_folders_by_what_they_are_for() -> None:
    assert [path.name for path in TESTS.glob("*.py")] == []
