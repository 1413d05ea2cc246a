"""What chaos tests need: real weights, real speech, and the tools that make disks fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos_audio import Audio, short_files
from disk_faults import can_mount, missing_tool
from transcriber.models.packaged import place

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with tiny.en, put in place from its package where scripts/setup has not."""
    placed = ROOT / "data" / "models"
    if not (placed / "tiny.en" / "model.bin").exists():
        placed = tmp_path_factory.mktemp("models")
        place(["tiny.en"], placed)
    return placed


@pytest.fixture(scope="session")
def speech() -> Audio:
    return short_files()[0]


@pytest.fixture
def require_tools() -> Callable[..., None]:
    """Skips without these tools on a user's machine; in CI that is a failure."""

    def require(*tools: str, mounts: bool = False) -> None:
        tool = missing_tool(*tools)
        lack = f"{tool} is missing: apt-get install {tool}" if tool else ""
        if not lack and mounts and not can_mount():
            # Nobody but root can make a small disk, in CI neither; the other checks say enough there.
            pytest.skip("only root may mount a small file system")
        if lack and os.environ.get("CI") == "true":
            pytest.fail(f"in CI {lack}")
        if lack:
            pytest.skip(lack)

    return require
