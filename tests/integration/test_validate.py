"""scripts/validate against a stand-in server whose answers are honest, or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

VALIDATE = Path(__file__).resolve().parents[2] / "scripts" / "validate"
SPEECH = "And so my fellow Americans, ask not what your country can do for you, ask what you can do."
KEY = "correct horse battery"

Answer = dict[str, Any]


def answer(text: str, *, gpu: bool = False, windows: int = 1) -> Answer:
    """An honest answer, from the GPU or from the CPU."""
    compute_type = "float16" if gpu else "int8_float32"
    return {
        "text": text,
        "model": "base",
        "gpu_used": gpu,
        "device": "cuda" if gpu else "cpu",
        "compute_type": compute_type,
        "requested": {"use_gpu": True, "device": "cuda", "compute_type": "auto"},
        "fallback_reason": None
        if gpu
        else {"code": "no_driver", "message": "No driver.", "fix": "Install it."},
        "receipt": {
            "windows_total": windows,
            "windows_gpu": windows if gpu else 0,
            "windows_cpu": 0 if gpu else windows,
            "compute_type": compute_type,
        },
        "warnings": [] if text else [{"code": "no_speech", "message": "No speech."}],
    }


class Handler(BaseHTTPRequestHandler):
    """Answers /diagnostics and /transcribe from its server's `answers`, to those who have the key."""

    def do_GET(self) -> None:
        self._reply("diagnostics")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert b'name="audio"' in body
        self._reply("tone" if b"WAVEfmt " in body else "speech" if b"fLaC" in body else "unknown")

    def _reply(self, name: str) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {KEY}"
        status, body = self.server.answers[name] if allowed else (401, {"error": {"code": "unauthorized"}})
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    answers: dict[str, tuple[int, Answer]]


@contextmanager
def serving(policy: str, tone: Answer, speech: Answer, *, status: int = 200) -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers = {
            "diagnostics": (200, {"settings": [{"name": "WHISPER_GPU_POLICY", "value": policy}]}),
            "tone": (status, tone),
            "speech": (status, speech),
        }
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def validate(url: str, *arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, VALIDATE, url, *arguments],
        env={"PATH": os.environ["PATH"], "WHISPER_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("policy", "gpu", "arguments", "status"),
    [
        ("preferred", False, (), 0),
        ("preferred", True, (), 0),
        ("off", False, (), 0),
        ("off", True, (), 1),
        ("required", True, (), 0),
        ("required", False, (), 1),
        ("preferred", True, ("--require-gpu",), 0),
        ("preferred", False, ("--require-gpu",), 1),
    ],
)
def test_exit_status_says_whether_the_policy_is_kept(
    policy: str, gpu: bool, arguments: tuple[str, ...], status: int
) -> None:
    with serving(policy, answer("", gpu=gpu), answer(SPEECH, gpu=gpu)) as url:
        result = validate(url, *arguments)

    assert result.returncode == status, result.stdout + result.stderr


def without(name: str) -> Answer:
    return {key: value for key, value in answer(SPEECH).items() if key != name}


@pytest.mark.parametrize(
    ("speech", "said"),
    [
        (answer(SPEECH) | {"gpu_used": True, "device": "cuda"}, "gpu_used is True with 0 of 1 windows"),
        (answer(SPEECH, gpu=True) | {"gpu_used": False}, "gpu_used is False with 1 of 1 windows"),
        (answer(SPEECH) | {"device": "cuda"}, "device is 'cuda'"),
        (answer(SPEECH) | {"compute_type": "float16"}, "compute_type is 'float16' on 'cpu'"),
        (answer(SPEECH) | {"compute_type": "float32"}, "'int8_float32' in the receipt"),
        (answer(SPEECH, windows=0), "nothing proves where it ran"),
        (without("receipt"), "nothing proves where it ran"),
        (without("fallback_reason"), "fallback_reason is None"),
        (answer("Ask the country."), "is missing"),
    ],
)
def test_answer_that_contradicts_itself_is_caught(speech: Answer, said: str) -> None:
    with serving("preferred", answer(""), speech) as url:
        result = validate(url)

    assert result.returncode == 1
    assert said in result.stderr


@pytest.mark.parametrize("tone", [answer("Thank you."), answer("") | {"warnings": []}])
def test_words_heard_in_a_tone_are_caught(tone: Answer) -> None:
    with serving("preferred", tone, answer(SPEECH)) as url:
        result = validate(url)

    assert result.returncode == 1
    assert "tone.wav" in result.stderr


def test_refusal_is_shown_with_its_fix() -> None:
    refusal = {
        "error": {"code": "gpu_required", "message": "The GPU can't serve.", "fix": "Install the driver."}
    }

    with serving("required", refusal, refusal, status=503) as url:
        result = validate(url)

    assert result.returncode == 1
    assert "503 gpu_required The GPU can't serve. Install the driver." in result.stderr


def test_wrong_key_is_not_as_demanded() -> None:
    with serving("preferred", answer(""), answer(SPEECH)) as url:
        result = validate(url, key="wrong")

    assert result.returncode == 1
    assert "401 unauthorized" in result.stderr


def test_no_server_has_its_own_status() -> None:
    assert validate("http://127.0.0.1:1").returncode == 2
    assert validate("nonsense").returncode == 2
