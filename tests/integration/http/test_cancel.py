"""Cancelling at every stage: the job is cancelled at once, its work stops soon, and nothing of it is left."""

from __future__ import annotations

import concurrent.futures
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from job_watch import (
    cpu_seconds,
    delete,
    get_job,
    stream,
    submit,
    submit_file,
    wait_for_job,
    wait_for_rest,
    wait_until,
)
from media_files import make_silent_flac
from server import Server, descendants, multipart
from speech_files import write_speech

pytestmark = pytest.mark.model

#: The promises: status `cancelled`, and no more work.
AT_ONCE, SOON = 1.0, 10.0


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One slot and no short lane, so that a second job waits."""
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_MAX_RUNNING": "1",
        "WHISPER_SHORT_SLOTS": "0",
    }
    with Server(tmp_path_factory.mktemp("cancel"), env=env) as started:
        started.wait_for("/health/ready")
        yield started


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour of speech: minutes of work."""
    return write_speech(tmp_path_factory.mktemp("talk") / "talk.wav", 1800)


@pytest.fixture(scope="module")
def silence() -> bytes:
    """Eleven hours in a few kilobytes: seconds of decoding, then minutes of voice detection."""
    return make_silent_flac(11.0)


def pid_of(server: Server, module: str) -> int:
    return next(pid for pid, command in server.children().items() if module in command)


def folder_of(server: Server, job_id: str) -> Path:
    return server.data_dir / "spool" / job_id


def cancel_and_check(server: Server, job_id: str) -> None:
    """Cancelled within a second, the engine at rest and the files gone soon."""
    engine = pid_of(server, "transcriber.engine.child.main")
    begun = time.monotonic()

    answer = delete(server, job_id)

    assert time.monotonic() - begun < AT_ONCE
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert get_job(server, job_id)["status"] == "cancelled"
    wait_for_rest(engine, SOON)
    wait_until(lambda: not folder_of(server, job_id).exists(), "its files are gone", SOON)
    assert not any(job_id in path.name for path in server.data_dir.rglob("*"))


def is_transcribing(job: dict[str, Any]) -> bool:
    return job["progress"] is not None and job["progress"]["stage"] == "transcribing"


def test_job_cancelled_while_it_waits_never_starts(server: Server, talk: Path, speech: Path) -> None:
    first = submit_file(server, talk)
    wait_for_job(server, first, lambda job: job["status"] == "running", "the first job runs")
    second = submit(server, speech)["job_id"]
    assert folder_of(server, second).exists()
    begun = time.monotonic()

    answer = delete(server, second)

    assert time.monotonic() - begun < AT_ONCE
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert not folder_of(server, second).exists()
    cancel_and_check(server, first)
    job = get_job(server, second)
    assert (job["status"], job["attempts"], job["started_at"]) == ("cancelled", 0, None)


def test_job_cancelled_while_it_is_decoded_ends_its_media_child(server: Server, silence: bytes) -> None:
    media = pid_of(server, "transcriber.media.child.server")
    job_id = submit(server, silence)["job_id"]
    wait_until(lambda: bool(descendants(media)), "a media child decodes", 20)
    assert get_job(server, job_id)["progress"]["stage"] == "decoding"

    cancel_and_check(server, job_id)

    wait_until(lambda: not descendants(media), "the media child is gone", AT_ONCE)


def test_job_cancelled_during_voice_detection_stops_the_engine(server: Server, silence: bytes) -> None:
    engine = pid_of(server, "transcriber.engine.child.main")
    idle = cpu_seconds(engine)
    job_id = submit(server, silence)["job_id"]
    wait_for_job(server, job_id, is_transcribing, "the engine has it", 120)
    wait_until(lambda: cpu_seconds(engine) > idle + 0.5, "the engine computes", 30)
    assert get_job(server, job_id)["progress"]["windows_done"] == 0

    cancel_and_check(server, job_id)


def test_job_cancelled_during_generation_makes_no_more_segments(server: Server, talk: Path) -> None:
    job_id = submit_file(server, talk)
    wait_for_job(server, job_id, lambda job: len(job["segments"]) > 0, "it has a segment", 120)

    with stream(server, job_id) as events, concurrent.futures.ThreadPoolExecutor(1) as pool:
        told = pool.submit(lambda: [event for event in events if event is not None])
        cancel_and_check(server, job_id)
        last = told.result(timeout=SOON)[-1]

    assert (last.kind, last.data["status"], last.data["error"]["code"]) == (
        "error",
        "cancelled",
        "job_cancelled",
    )
    assert server.get(f"/jobs/{job_id}/transcript.txt").status == 409


def test_server_works_on_after_all_that(server: Server, speech: Path) -> None:
    job_id = submit(server, speech)["job_id"]

    wait_for_job(server, job_id, lambda job: job["status"] == "succeeded", "it succeeds")

    refused = delete(server, job_id)
    assert (refused.status, refused.json["error"]["code"]) == (409, "job_finished")
    assert delete(server, job_id, "?purge=true").status == 204
    assert server.get(f"/jobs/{job_id}").status == 404
    assert not any(job_id in path.name for path in server.data_dir.rglob("*"))


def test_job_that_has_not_ended_is_not_purged(server: Server, talk: Path) -> None:
    job_id = submit_file(server, talk)

    refused = delete(server, job_id, "?purge=true")

    assert (refused.status, refused.json["error"]["code"]) == (409, "job_not_finished")
    cancel_and_check(server, job_id)


@contextmanager
def abandoned(server: Server, payload: bytes, **fields: str) -> Iterator[str]:
    """POST /transcribe with the connection still open, once its job runs; closed on leaving. The job's id."""
    body, content_type = multipart(payload, "speech.wav", fields)
    before = {job["job_id"] for job in server.get("/jobs").json["jobs"]}
    head = (
        f"POST /transcribe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )

    def new_jobs() -> list[str]:
        jobs = server.get("/jobs?status=running").json["jobs"]
        return [job["job_id"] for job in jobs if job["job_id"] not in before]

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(head.encode() + body)
        wait_until(lambda: bool(new_jobs()), "the job runs", 30)
        yield new_jobs()[0]


def test_job_of_a_client_that_went_away_is_cancelled(server: Server, talk: Path) -> None:
    engine = pid_of(server, "transcriber.engine.child.main")

    with abandoned(server, talk.read_bytes()) as job_id:
        wait_for_job(server, job_id, lambda job: len(job["segments"]) > 0, "it has a segment", 120)

    wait_until(lambda: get_job(server, job_id)["status"] == "cancelled", "it is cancelled", 5)
    wait_for_rest(engine, SOON)
    wait_until(lambda: not folder_of(server, job_id).exists(), "its files are gone", SOON)


def test_detached_job_of_a_client_that_went_away_is_finished(server: Server, tmp_path: Path) -> None:
    clip = write_speech(tmp_path / "clip.wav", 60).read_bytes()

    with abandoned(server, clip, detach="true") as job_id:
        assert get_job(server, job_id)["status"] == "running"

    job = wait_for_job(server, job_id, lambda job: job["status"] == "succeeded", "it is finished")
    assert "country" in job["text"]
