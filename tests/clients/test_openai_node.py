"""OpenAI's own client for Node against a running service; npm installs it into a folder of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server import Server

HERE = Path(__file__).parent
KEY = "a-key-of-at-least-thirty-two-characters"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the packages that package-lock.json pins."""
    if shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("npm is missing")
        pytest.skip("npm is missing: sudo apt-get install npm")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "node" / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def found(packages: Path, served: Server, speech: Path) -> Any:
    """What the client got for everything that it asked."""
    command = ["node", str(HERE / "node" / "openai.mjs"), f"{served.url}/v1", KEY, str(speech)]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_formats(found: Any) -> None:
    assert "country" in found["json"]["text"]
    assert found["json"]["usage"]["type"] == "duration"
    assert all(token["logprob"] <= 0 for token in found["json"]["logprobs"])
    assert found["verbose"]["language"] == "english"
    assert found["verbose"]["words"]
    assert found["verbose"]["segments"]
    assert found["srt"].startswith("1\n00:00:")
    assert found["vtt"].startswith("WEBVTT\n\n")
    assert "country" in found["text"]


def test_stream(found: Any) -> None:
    *deltas, done = found["events"]

    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"] == found["json"]["text"]


def test_speakers(found: Any) -> None:
    assert {one["speaker"] for one in found["diarized"]["segments"]} == {"A"}
    assert found["diarized"]["text"] == found["json"]["text"]


def test_headers_and_models(found: Any) -> None:
    assert found["raw"]["gpuUsed"] == "false"
    assert found["raw"]["warnings"] == 'model_alias;param="model"'
    assert {"base", "whisper-1"} <= set(found["models"])


def test_errors_are_the_clients_own(found: Any) -> None:
    assert [(error["name"], error["code"]) for error in found["errors"]] == [
        ("BadRequestError", "invalid_parameter"),
        ("NotFoundError", "model_not_found"),
        ("BadRequestError", "invalid_parameter"),
    ]
