"""The web process never loads PyAV, and the decode server loads nothing of the web."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE_ROOT = Path(__file__).resolve().parents[3] / "flask-app"


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("transcriber.media.decoder", {"av", "numpy", "transcriber.media.child.decoding"}),
        ("transcriber.media.child.server_start", {"av", "numpy", "flask", "transcriber.config.loader"}),
        (
            "transcriber.media.child.server",
            {"flask", "gevent", "sqlalchemy", "structlog", "numpy", "transcriber.config"},
        ),
    ],
)
def test_neither_side_loads_what_belongs_to_the_other(module: str, forbidden: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & forbidden
