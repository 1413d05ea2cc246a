"""The short form of scripts/chaos-fleet, with the real engine: about two minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_chaos import Plan, run_chaos
from postgres_server import find_programs
from speech_files import write_speech

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(find_programs() is None, reason="no PostgreSQL here: run scripts/tools --install"),
]


def test_fleet_loses_and_doubles_nothing(models: Path, tmp_path: Path) -> None:
    """A worker killed twice and frozen, a web node killed, the database stopped: in an order from the seed."""
    audio = write_speech(tmp_path / "speech.wav", 40)
    plan = Plan(jobs=6, seed=1, workers=2, disturbances=5)

    counts = run_chaos(plan, audio, tmp_path, WHISPER_MODEL_PATH=str(models))

    print(counts.report())
    assert counts.faults == []
    assert sum(counts.done.values()) == 5
