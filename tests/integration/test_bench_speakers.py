"""The bench of speakers in its short form: six short mixes of real voices, through the real child and models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench-speakers"


def test_speakers_of_short_mixes_are_found() -> None:
    done = subprocess.run([sys.executable, str(BENCH), "--quick"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every promise was kept." in done.stdout
