"""Services for the real clients: one with a real engine, shared, and others with a stand-in that takes its time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server import Server
from speakers_mixes import Mix, mix
from transcriber.models.packaged import place

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-of-at-least-thirty-two-characters"
STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"


@pytest.fixture(scope="session")
def speech() -> Path:
    return ROOT / "tests" / "data" / "jfk.flac"


@pytest.fixture(scope="session")
def conversation() -> Mix:
    """Two voices in turn."""
    return mix(2, seed=3, seconds=25, among=("jfk", "librivox"))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with a key and the real model base."""
    models = ROOT / "data" / "models"
    if not (models / "base" / "model.bin").exists():
        models = tmp_path_factory.mktemp("models")
        place(["base"], models)
    env = {"WHISPER_MODEL_PATH": str(models), "WHISPER_API_KEY": KEY}
    with Server(tmp_path_factory.mktemp("served"), env=env) as server:
        server.wait_for("/health/ready", timeout=180)
        yield server


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a service whose engine takes so many seconds for each file."""
    started: list[Server] = []

    def start(pace: float, **env: str) -> Server:
        own = {"WHISPER_ENGINE_COMMAND": f"{STAND_IN} --pace {pace}", "WHISPER_API_KEY": KEY}
        server = Server(tmp_path / f"data{len(started)}", env=own | env)
        started.append(server)
        server.start()
        server.wait_for("/health/ready", timeout=120)
        return server

    yield start
    for server in started:
        server.stop()
