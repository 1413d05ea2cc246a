"""Models over a real server with real weights: unloaded when idle, alternating under a budget, loaded and unloaded on demand."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server import ROOT, Server, tree_memory_bytes

SPEECH = ROOT / "tests" / "data" / "jfk.flac"

pytestmark = pytest.mark.model

#: Computed for one window at a time: tiny.en 0.37 GB, base 0.51 GB. One fits, both do not. What base really takes for a clip
#: depends on how its huge pages fall: 0.56 to 0.77 GB were measured.
BUDGET = 860_000_000


def words(answer: dict[str, Any]) -> str:
    return re.sub(r"[^a-z ]", "", answer["text"].lower())


def is_right(answer: dict[str, Any]) -> bool:
    return "ask not what your country can do for you" in words(answer)


def eventually(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def engines(server: Server) -> list[int]:
    return [pid for pid, command in server.children().items() if "engine.child" in command]


def model(server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.get(f"/models/{name}").json
    return found


@contextmanager
def watched(look: Callable[[], int]) -> Iterator[list[int]]:
    """What it looked like all the while, several times a second."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        seen.append(look())
        while not done.wait(0.05):
            seen.append(look())

    with ThreadPoolExecutor(1) as threads:
        watcher = threads.submit(watch)
        try:
            yield seen
        finally:
            done.set()
            watcher.result()


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with room for one model; it unloads after two seconds, and tests its engines every second."""
    environment = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_GPU_POLICY": "off",
        "WHISPER_MODEL_TTL": "2",
        "WHISPER_SELFTEST_INTERVAL_SECONDS": "1",
        "WHISPER_BATCH_SIZE": "1",
        "WHISPER_MEMORY_BUDGET_BYTES": str(BUDGET),
    }
    with Server(tmp_path_factory.mktemp("models"), environment) as server:
        yield server


def test_idle_model_gives_all_its_memory_back_and_stays_so_until_the_next_request(server: Server) -> None:
    with watched(lambda: tree_memory_bytes(server.pid)) as seen:
        first = server.transcribe(SPEECH, model="tiny.en").json
    loaded = max(seen)

    eventually(lambda: not engines(server))
    unloaded = tree_memory_bytes(server.pid)
    print(f"tree: {loaded / 1e6:.0f} MB loaded, {unloaded / 1e6:.0f} MB unloaded")

    facts = model(server, "tiny.en")
    (engine,) = facts["engines"]
    assert (facts["state"], engine["unloaded_because"], engine["pid"]) == ("unloaded", "idle", None)
    assert unloaded < 0.6 * loaded
    ready = server.get("/health/ready")
    assert (ready.status, ready.json["engine"]["state"]) == (200, "unloaded")
    assert ready.json["engine"]["proven_at"] == engine["proven_at"]
    # A canary that wakes it has had its time three times over: the test asks what it does, not when.
    tested = server.request("POST", "/diagnostics/selftest").json
    assert (tested["outcome"], tested["proven_at"]) == ("skipped", engine["proven_at"])
    metrics = server.get("/metrics").text
    assert 'transcriber_model_loaded{device="cpu",model="tiny.en"} 0.0' in metrics
    assert 'transcriber_model_unloads_total{why="idle"}' in metrics
    assert engines(server) == []

    again = server.transcribe(SPEECH, model="tiny.en").json

    assert is_right(first)
    assert again["text"] == first["text"]
    assert again["timings"]["model_load"] > 0.1
    print(f"first request after the unload: {again['timings']}")


def test_two_models_in_alternation_under_a_budget_for_one(server: Server) -> None:
    def ask(turn: int) -> dict[str, Any]:
        answer = server.transcribe(SPEECH, model=("tiny.en", "base")[turn % 2])
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    with (
        watched(lambda: sum(tree_memory_bytes(pid) for pid in engines(server))) as peaks,
        ThreadPoolExecutor(2) as threads,
    ):
        answers = list(threads.map(ask, range(6)))

    print(f"peak of the engines: {max(peaks) / 1e6:.0f} MB of {BUDGET / 1e6:.0f} MB")
    assert all(is_right(answer) for answer in answers)
    assert [answer["model"] for answer in answers] == ["tiny.en", "base"] * 3
    assert all(answer["receipt"]["attempts"] == 1 for answer in answers)  # none was cut and done again
    assert 0 < max(peaks) <= BUDGET
    limits = server.get("/models").json["memory"]["cpu"]
    assert limits["limit_bytes"] == BUDGET
    assert limits["counted_bytes"] <= BUDGET


def test_model_is_loaded_and_unloaded_on_demand(server: Server) -> None:
    loaded = server.request("POST", "/models/base/load")
    assert (loaded.status, loaded.json["state"]) == (200, "loaded")
    assert loaded.json["engines"][0]["resident_bytes"] > 100_000_000

    unloaded = server.request("POST", "/models/base/unload")

    assert (unloaded.status, unloaded.json["state"]) == (200, "unloaded")
    assert server.request("POST", "/models/base/unload").status == 200
    assert server.request("POST", "/models/nothing/unload").json["error"]["code"] == "model_not_found"


def test_what_is_not_here_is_not_fetched_where_that_is_not_allowed(server: Server) -> None:
    refused = server.request("POST", "/models/large-v3/load")
    assert refused.json["error"]["code"] == "model_not_found"

    download = server.request("POST", "/models/large-v3/download")
    assert (download.status, download.json["error"]["code"]) == (403, "model_download_refused")
    assert "WHISPER_MODEL_DOWNLOAD=true" in download.json["error"]["fix"]


def test_a_server_that_is_to_use_no_gpu_loads_nothing_there(server: Server) -> None:
    refused = server.request("POST", "/models/base/load?device=cuda")

    assert (refused.status, refused.json["error"]["param"]) == (422, "device")
    assert "WHISPER_GPU_POLICY=off" in refused.json["error"]["message"]
