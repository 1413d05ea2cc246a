"""/health/ready and the verdict of a real server whose engine or model fails it: never good news beside 503s."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from media_files import make_tone, make_wave
from server import ROOT, Server

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SPEECH = make_wave(make_tone(2.0))


def put_model(folder: Path) -> Path:
    """Files that a stand-in engine takes for a model."""
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_text("{}")
    return folder


def page_of(server: Server) -> dict[str, Any]:
    page: dict[str, Any] = server.get("/diagnostics", headers={"Accept": "application/json"}).json
    return page


def assert_takes_no_work(server: Server, code: str) -> None:
    ready = server.wait_for("/health/ready", 30, status=503).json
    while ready["status"] == "starting":
        time.sleep(0.05)
        ready = server.get("/health/ready").json
    assert (ready["status"], ready["error"]["code"]) == ("failed", code)
    assert ready["error"]["message"] and ready["error"]["fix"]
    page = page_of(server)
    assert page["status"] == "failed"
    assert page["verdict"].startswith("This server takes no work: ")
    assert page["problems"][0] == ready["error"]


def test_default_model_that_is_not_there(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_MODEL="nonsuch", WHISPER_ENGINE_START="lazy", until="")

    assert_takes_no_work(server, "model_not_found")
    assert server.transcribe(SPEECH).status == 404


def test_default_model_that_the_memory_has_no_room_for(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_MODEL="tiny.en", WHISPER_MEMORY_BUDGET_BYTES="100000000", until="")

    assert_takes_no_work(server, "memory_too_small")
    answer = server.transcribe(SPEECH)
    assert (answer.status, answer.json["error"]["code"]) == (503, "memory_too_small")
    assert page_of(server)["engines"] == []


def test_model_that_goes_bad_under_a_running_engine_and_comes_back(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    model = put_model(tmp_path / "models" / "own")
    server = serve(
        WHISPER_ENGINE_COMMAND=STAND_IN, WHISPER_MODEL="own", WHISPER_MODEL_PATH=str(tmp_path / "models")
    )
    (model / "tokenizer.json").rename(model / "elsewhere")

    assert_takes_no_work(server, "model_incomplete")
    assert server.transcribe(SPEECH).status == 503
    os.kill(page_of(server)["engines"][0]["pid"], signal.SIGKILL)
    assert_takes_no_work(server, "model_incomplete")

    (model / "elsewhere").rename(model / "tokenizer.json")
    assert server.wait_for("/health/ready", 60).json["status"] in ("ok", "degraded")
    assert server.transcribe(SPEECH).status == 200


def test_engine_that_starts_nowhere(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_ENGINE_COMMAND=f"{STAND_IN} --fail-start no_memory", until="")

    assert_takes_no_work(server, "no_memory")
