"""Routes, schemas, settings, metrics, error codes, commands, database and data folder are as the snapshot says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from surface import SNAPSHOT, flatten

TESTS = Path(__file__).resolve().parents[1]
FIX = "If the change is deliberate, run .venv/bin/python tests/support/surface.py and commit tests/data/surface.json."


def test_surface_is_the_one_of_the_snapshot(tmp_path: Path) -> None:
    found = tmp_path / "surface.json"
    # A process of its own: putting the application together sets up logging for the whole process.
    subprocess.run(
        [sys.executable, str(TESTS / "support" / "surface.py"), str(found)], check=True, capture_output=True
    )

    before, now = (flatten(json.loads(path.read_text())) for path in (SNAPSHOT, found))

    difference = {
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
        "changed": sorted(key for key in before.keys() & now.keys() if before[key] != now[key]),
    }
    assert difference == {"added": [], "removed": [], "changed": []}, FIX


def test_every_part_of_the_surface_is_in_the_snapshot() -> None:
    parts = json.loads(SNAPSHOT.read_text())

    assert all(parts.values())
    assert set(parts) == {
        "routes",
        "openapi",
        "settings",
        "metrics",
        "error_codes",
        "gpu_causes",
        "commands",
        "exit_statuses",
        "database",
        "data_folder",
    }


def test_one_missing_route_is_named() -> None:
    one, other = {"routes": ["GET /", "GET /jobs"]}, {"routes": ["GET /"]}

    assert flatten(one).keys() - flatten(other).keys() == {"/routes/GET /jobs"}
