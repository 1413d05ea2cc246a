"""scripts/bench-words runs: its short form against a real server and real weights. Nothing is lost, invented or repeated."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench-words"


@pytest.mark.model
def test_the_short_form_keeps_its_promises(find_model: Callable[[str], Path], tmp_path: Path) -> None:
    models = find_model("tiny.en").parent
    command = [sys.executable, str(SCRIPT), "--quick", "--models", str(models), "--out", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Every promise was kept." in done.stdout
    found = json.loads((tmp_path / "words.json").read_text())["tiny.en"]
    assert [run["recording"] for run in found["runs"]] == ["joined", "quiet", "no speech"]
    assert all(run["score"]["errors"]["words"] > 50 for run in found["runs"][:2])
    assert "no_speech" in found["runs"][2]["warnings"]
    assert found["runs"][0]["audio_seconds"] > 120
