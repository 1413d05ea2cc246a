"""Jobs of a real server as tests and scripts look at them: submitted, polled, and what their work costs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server import Answer, Server
from transcriber.cli.http import Http, raise_for
from transcriber.cli.request import TranscribeRequest
from transcriber.cli.server import ServerBackend
from transcriber.cli.sse import iter_events
from transcriber.domain.feed import FeedEvent

Json = dict[str, Any]


def submit(server: Server, audio: bytes | Path, **fields: str) -> Json:
    """POST /jobs; the body of its 202."""
    answer = server.transcribe(audio, path="/jobs", **fields)
    if answer.status != 202:
        raise RuntimeError(f"POST /jobs answered {answer.status}: {answer.text[:500]}")
    body: Json = answer.json
    return body


def submit_file(server: Server, file: Path, *, priority: int = 0) -> str:
    """POST /jobs with a large file, read while it is sent; the job's id."""
    backend = ServerBackend(Http(server.url, ""))
    return backend.submit(file, TranscribeRequest(priority=priority), lambda sent, size: None)


def get_job(server: Server, job_id: str) -> Json:
    """GET /jobs/{id}."""
    answer = server.get(f"/jobs/{job_id}")
    if answer.status != 200:
        raise RuntimeError(f"GET /jobs/{job_id} answered {answer.status}: {answer.text[:500]}")
    body: Json = answer.json
    return body


def delete(server: Server, job_id: str, query: str = "") -> Answer:
    return server.request("DELETE", f"/jobs/{job_id}{query}")


def wait_for_job(
    server: Server, job_id: str, condition: Callable[[Json], bool], what: str, seconds: float = 60.0
) -> Json:
    """Poll the job until it is so. Raises TimeoutError, and RuntimeError when it has ended otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        job = get_job(server, job_id)
        if condition(job):
            return job
        if job["status"] in ("succeeded", "failed", "cancelled"):
            raise RuntimeError(f"the job is {job['status']} ({job['error']}), and not: {what}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}; {job['status']} {job['progress']}")
        time.sleep(0.02)


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """Poll until it is so; the seconds that it took. Raises TimeoutError."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - begun


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children that it has seen out; 0 when it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def wait_for_rest(pid: int, seconds: float, *, interval: float = 1.0) -> float:
    """Until a process has used next to no CPU for `interval`; the seconds that it took. Raises TimeoutError."""
    begun = time.monotonic()
    while time.monotonic() - begun <= seconds:
        before, mark = cpu_seconds(pid), time.monotonic()
        time.sleep(interval)
        if cpu_seconds(pid) - before <= 0.05 * interval:
            return mark - begun
    raise TimeoutError(f"process {pid} still works after {seconds} s")


@contextmanager
def stream(server: Server, job_id: str, after: int = 0) -> Iterator[Iterator[FeedEvent | None]]:
    """One connection to GET /jobs/{id}/stream."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    with Http(server.url, "").streamed(f"/jobs/{job_id}/stream", headers) as (reply, lines):
        raise_for(reply)
        yield iter_events(lines)
