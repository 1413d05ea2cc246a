"""Jobs outlive their processes: restarts and kills at any moment, one end each, the same text as untouched."""

from __future__ import annotations

import json
import os
import signal
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from media_files import RATE, make_wave, read_pcm
from server import ROOT, Server, multipart
from speech_clips import ENGLISH_CLIPS

pytestmark = pytest.mark.model

DEADLINE = 120.0


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About two minutes of real speech in one file."""
    samples = array("h")
    while len(samples) < 120 * RATE:
        for clip in ENGLISH_CLIPS:
            samples += read_pcm(clip.path)
    path = tmp_path_factory.mktemp("speech") / "long.wav"
    path.write_bytes(make_wave(samples))
    return path


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for the tests that leave it up."""
    env = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)}
    with Server(tmp_path_factory.mktemp("restart"), env=env) as started:
        started.wait_for("/health/ready")
        yield started


@pytest.fixture
def restart(models: Path, tmp_path: Path) -> Callable[[], Server]:
    """Starts servers one after the other on one data folder; the last one is stopped after the test."""

    def start() -> Server:
        server = Server(
            tmp_path / "data", env={"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)}
        )
        server.start()
        server.wait_for("/health/ready")
        return server

    return start


def submit(server: Server, path: Path, **fields: str) -> str:
    body, content_type = multipart(path.read_bytes(), path.name, fields)
    answer = server.request("POST", "/jobs", body=body, headers={"Content-Type": content_type})
    assert answer.status == 202, answer.text
    return str(answer.json["job_id"])


def job_of(server: Server, job_id: str) -> dict[str, Any]:
    answer = server.get(f"/jobs/{job_id}", headers={"Accept": "application/json"})
    assert answer.status == 200, answer.text
    body: dict[str, Any] = answer.json
    return body


def until(server: Server, job_id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE
    while not is_so(job := job_of(server, job_id)):
        assert time.monotonic() < deadline, json.dumps(job)[:2000]
        time.sleep(0.05)
    return job


def has_ended(job: dict[str, Any]) -> bool:
    return job["status"] in ("succeeded", "failed", "cancelled")


def windows_on_disk(server: Server, job_id: str) -> int:
    path = server.data_dir / "spool" / job_id / "journal"
    return path.read_text().count('{"kind": "window"') if path.exists() else 0


def until_windows(server: Server, job_id: str, count: int) -> None:
    """Return with that many windows on disk, or when the job has ended: its journal is gone then."""
    deadline = time.monotonic() + DEADLINE
    while windows_on_disk(server, job_id) < count and not has_ended(job_of(server, job_id)):
        assert time.monotonic() < deadline, job_of(server, job_id)
        time.sleep(0.01)


def kill_everything(server: Server) -> None:
    pids = [server.pid, *server.children()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.process.wait()
    server.log.close()


def segments(server: Server, job_id: str) -> list[dict[str, Any]]:
    answer = server.get(f"/jobs/{job_id}/transcript.json")
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json["segments"]
    return found


def test_killed_in_mid_work_and_restarted_is_the_same_text_from_the_windows_that_were_left(
    restart: Callable[[], Server], long_speech: Path
) -> None:
    server = restart()
    untouched = submit(server, long_speech)
    assert until(server, untouched, has_ended)["status"] == "succeeded"
    for _ in range(3):  # on a busy machine the job may have ended before the kill
        job_id = submit(server, long_speech)
        until_windows(server, job_id, 2)
        kill_everything(server)
        left = windows_on_disk(server, job_id)
        server = restart()
        job = until(server, job_id, has_ended)
        if job["attempts"] > 1:
            break
    try:
        transcript = server.get(f"/jobs/{job_id}/transcript.json").json
        same = segments(server, untouched)
    finally:
        server.stop()

    assert (job["status"], job["attempts"]) == ("succeeded", 2)
    assert left >= 2
    assert transcript["segments"] == same
    assert [segment["id"] for segment in same] == list(range(len(same)))
    assert transcript["receipt"]["windows_total"] >= left


def test_stopped_in_mid_work_hands_back_within_ten_seconds_and_goes_on(
    restart: Callable[[], Server], long_speech: Path
) -> None:
    server = restart()
    job_id = submit(server, long_speech)
    waiting = submit(server, ROOT / "tests" / "data" / "jfk.flac")
    until_windows(server, job_id, 1)
    begun = time.monotonic()
    server.stop(timeout=10)
    seconds = time.monotonic() - begun

    server = restart()
    try:
        ended = [until(server, each, has_ended)["status"] for each in (job_id, waiting)]
    finally:
        server.stop()

    assert seconds < 10
    assert ended == ["succeeded", "succeeded"]


def test_engine_killed_in_mid_work_is_replaced_and_the_job_goes_on(server: Server, long_speech: Path) -> None:
    job_id = submit(server, long_speech)
    until_windows(server, job_id, 1)
    victim = next(
        pid for pid, command in server.children().items() if "transcriber.engine.child.main" in command
    )
    os.kill(victim, signal.SIGKILL)
    job = until(server, job_id, has_ended)
    receipt = server.get(f"/jobs/{job_id}/transcript.json").json["receipt"]

    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert receipt["attempts"] == 2


def test_cancelled_in_mid_work_is_cancelled_within_a_second_and_leaves_no_file(
    server: Server, long_speech: Path
) -> None:
    job_id = submit(server, long_speech)
    until_windows(server, job_id, 1)
    begun = time.monotonic()
    answer = server.request("DELETE", f"/jobs/{job_id}", headers={"Accept": "application/json"})
    status = job_of(server, job_id)["status"]
    seconds = time.monotonic() - begun
    folder = server.data_dir / "spool" / job_id
    deadline = time.monotonic() + 15
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert answer.status in (200, 202, 204)
    assert (status, seconds < 1.0, folder.exists()) == ("cancelled", True, False)
