"""The contracts on imports hold, and refuse what they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_wrong_import_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check-imports")], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("10 of 10 wrong imports are refused.\n")
