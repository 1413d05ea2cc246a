"""scripts/bench runs: its short form against a real server, real weights and bare faster-whisper."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench"


@pytest.mark.model
def test_the_short_form_measures_and_compares(find_model: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    models = find_model("tiny.en").parent
    command = [sys.executable, str(SCRIPT), "--quick", "--models", str(models), "--out", str(out)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((out / "bench.json").read_text())
    long_runs = {run["way"]: run for run in found["models"]["tiny.en"]["long"]}
    crowds = found["models"]["tiny.en"]["crowds"]
    assert set(long_runs) == {"service", "batched", "sequential"}
    assert {(run["way"], run["clients"]) for run in crowds} == {
        (way, clients) for way in ("service", "serial") for clients in (1, 4)
    }
    # A fast wrong answer does not count: the service makes no more errors than bare does, a word or two aside.
    assert long_runs["service"]["wer"] <= long_runs["batched"]["wer"] + 0.02
    assert all(run["wer"] < 0.2 for run in crowds if run["way"] == "service")
    assert all(run["cpu_seconds"] > 0 and run["peak_bytes"] > 10**8 for run in crowds)
    assert "GET /health p99, s" in done.stdout
    ElementTree.fromstring((out / "bench.svg").read_text())
