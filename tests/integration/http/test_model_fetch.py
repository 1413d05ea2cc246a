"""A model fetched from a hub on loopback by a real server, while it serves: progress, health, and the first transcript."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_server import Hub
from server import Server
from transcriber.models.catalogue import find_model
from transcriber.models.packaged import KNOWN

pytestmark = pytest.mark.model


@pytest.fixture
def hub(models: Path) -> Iterator[Hub]:
    """The hub with tiny.en, whose real files are on this machine."""
    row = find_model("tiny.en")
    assert row is not None
    folder = models / "tiny.en"
    with Hub(row.repository, row.revision, {path.name: path for path in folder.iterdir()}) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


@pytest.fixture
def server(hub: Hub, models: Path, tmp_path: Path) -> Iterator[Server]:
    """One that has base, may fetch, and is installed without the package that carries tiny.en."""
    for packaged in KNOWN.packaged:
        for parts in packaged.files.values():
            for package, _ in parts:
                (tmp_path / "shadow" / package).mkdir(parents=True, exist_ok=True)
                (tmp_path / "shadow" / package / "__init__.py").touch()
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True)
    (data / "models" / "base").symlink_to(models / "base")
    environment = {
        "PYTHONPATH": str(tmp_path / "shadow"),
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1",
        "WHISPER_MODEL_DOWNLOAD": "true",
        "WHISPER_ENGINE_START": "lazy",
        "WHISPER_GPU_POLICY": "off",
    }
    with Server(data, environment) as server:
        yield server


def test_model_is_fetched_in_the_background_and_then_used(server: Server, hub: Hub, speech: Path) -> None:
    assert server.get("/models/tiny.en").json["state"] == "absent"
    hub.cuts = [20_000_000]
    hub.seconds_per_chunk = 0.002

    begun = server.request("POST", "/models/tiny.en/download")

    assert (begun.status, begun.json["state"]) == (202, "downloading")
    seen, slowest = [], 0.0
    deadline = time.monotonic() + 120
    while (facts := server.get("/models/tiny.en").json)["state"] == "downloading":
        assert time.monotonic() < deadline
        seen.append(facts["download"]["percent"])
        asked = time.monotonic()
        assert server.get("/health").status == 200
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.02)
    print(f"{len(seen)} looks while it was fetched; the slowest /health took {1000 * slowest:.0f} ms")

    assert (facts["state"], facts["source"], facts["verified"]) == ("unloaded", "hub_cache", True)
    assert (facts["download"]["state"], facts["download"]["percent"]) == ("done", 100.0)
    assert seen == sorted(seen)
    assert hub.begun_at[1] > 0
    log = server.log_text()
    assert "model_downloading" in log
    assert "model_downloaded" in log
    answer = server.transcribe(speech, model="tiny.en")
    assert (answer.status, answer.json["model"]) == (200, "tiny.en")
    assert "your country" in answer.json["text"]


def test_job_that_names_a_model_on_the_hub_waits_for_it(server: Server, hub: Hub, speech: Path) -> None:
    answer = server.transcribe(speech, model="tiny.en").json

    assert "your country" in answer["text"]
    assert answer["timings"]["model_load"] > 0
    assert hub.served.count("model.bin") == 1


def test_download_that_fails_is_told_with_what_to_do(server: Server, hub: Hub, speech: Path) -> None:
    hub.refusal = 500

    failed = server.transcribe(speech, model="tiny.en")

    assert (failed.status, failed.json["error"]["code"]) == (503, "model_download_failed")
    assert failed.json["error"]["fix"]
    facts = server.get("/models/tiny.en").json
    assert facts["state"] == "absent"
    assert facts["download"]["error"]["code"] == "model_download_failed"
    assert server.get("/health").status == 200
