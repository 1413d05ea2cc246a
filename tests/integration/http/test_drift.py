"""A service that is started again after its driver changed says what changed, and what that does."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from fake_gpu import healthy_environment
from server import Server


@pytest.fixture
def environment(tmp_path: Path, models: Path) -> dict[str, str]:
    """A stand-in GPU, and no engine before it is asked for."""
    settings = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models), "WHISPER_ENGINE_START": "lazy"}
    return settings | healthy_environment(tmp_path / "libraries")


def test_changed_driver_is_shown_after_the_next_start(tmp_path: Path, environment: dict[str, str]) -> None:
    with Server(tmp_path / "data", env=environment) as server:
        first = server.get("/diagnostics").json
    with Server(tmp_path / "data", env=environment | {"FAKE_DRVVER": "13000"}) as server:
        second = server.get("/diagnostics").json
        page = server.get("/diagnostics", headers={"Accept": "text/html"}).text
        tested = server.request("POST", "/diagnostics/selftest")
        engines = server.get("/diagnostics").json["engines"]
        log = server.log_text()

    assert first["changes"] == []
    assert [(c["name"], c["before"], c["after"]) for c in second["changes"]] == [("cuda", "12.8", "13.0")]
    assert first["snapshot"]["sha256"] != second["snapshot"]["sha256"]
    assert second["changes"][0]["effect"] in html.unescape(page.partition("<textarea")[0])
    assert "capability_changed" in log
    # Nobody has asked for an engine yet, and a self-test does not either.
    assert (tested.status, tested.json["outcome"], engines) == (200, "skipped", [])
    stored = sorted((tmp_path / "data/snapshots").iterdir())
    assert [json.loads(path.read_bytes())["cuda"] for path in stored] == ["12.8", "13.0"]
