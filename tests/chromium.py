"""Debian's Chromium, as the browser tests and scripts/screenshots start it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def require_chromium() -> None:
    """Missing: a failure in CI, a loud skip elsewhere."""
    if CHROMIUM.exists():
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail("Chromium is missing in CI: apt-get install chromium")
    pytest.skip("Chromium is missing: apt-get install chromium")
