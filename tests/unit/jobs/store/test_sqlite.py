"""What the store on SQLite promises beyond the contract: one owner, durability, and clear refusals."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from job_stores import NOW, files_up_to, make_job, opened, refusal, stored_job
from transcriber.domain.errors import (
    ConfigError,
    ShuttingDownError,
)
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.jobs.store.lock import StoreLock
from transcriber.jobs.store.sqlite import SqliteJobStore

DEADLINE_SECONDS = 20


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.sqlite3"


def test_jobs_outlive_the_process(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        store.add(make_job())
        store.claim(make_job().id, NOW)

    with opened(path, executor) as store:
        unfinished = store.list_jobs(statuses=(JobStatus.QUEUED, JobStatus.RUNNING))

    assert unfinished == [stored_job().evolve(status=JobStatus.RUNNING, attempts=1, started_at=NOW)]


def test_files_are_for_our_user_alone(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        store.add(make_job())
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(modes) == 4 and set(modes.values()) == {0o600}


def test_a_closed_store_takes_nothing(path: Path, executor: Executor) -> None:
    store = SqliteJobStore(path, executor)
    store.close()

    with pytest.raises(ShuttingDownError):
        store.add(make_job())


# One owner


def test_a_second_owner_is_refused_with_the_pid_of_the_first(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        error = refusal(path, executor)
        store.add(make_job())

    assert error.code == "store_in_use"
    assert f"process {os.getpid()}" in error.message
    with opened(path, executor) as store:
        assert store.get(make_job().id) == stored_job()


def test_an_owner_without_a_readable_pid_is_refused_too(path: Path, executor: Executor) -> None:
    with opened(path, executor):
        (path.parent / "owner.lock").write_bytes(b"?")
        error = refusal(path, executor)

    assert error.code == "store_in_use" and "another process" in error.message


def test_a_child_that_execs_does_not_keep_the_lock(path: Path, executor: Executor) -> None:
    store = SqliteJobStore(path, executor)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        store.close()
        with opened(path, executor):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


WRITER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.store.sqlite import SqliteJobStore

store = SqliteJobStore(Path(sys.argv[1]), ThreadPoolExecutor(1))
request = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
first, count = map(int, sys.argv[2:])
for number in range(first, first + count):
    job = Job(id=f"job_{number:024}", status=JobStatus.QUEUED, request=request, file_name="x", size_bytes=1,
              created_at=datetime.now(UTC))
    store.add(job)
    os.write(1, f"{number}\\n".encode())
"""


def writer(path: Path, first: int, count: int, *prefix: str) -> subprocess.Popen[str]:
    package = Path(sys.modules["transcriber"].__file__ or "").parents[1]
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", WRITER, str(path), str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(package)},
    )


def test_what_was_acknowledged_survives_sigkill(path: Path, executor: Executor) -> None:
    acknowledged: list[int] = []
    for kills in range(2):
        with writer(path, kills * 100_000, 100_000) as process:
            assert process.stdout is not None
            for _ in range(20 + 7 * kills):
                acknowledged.append(int(process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]

    with opened(path, executor) as store:
        kept = {int(job.id[4:]) for job in store.list_jobs(limit=1_000_000)}
    assert len(acknowledged) >= 47
    assert set(acknowledged) <= kept


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_every_job_is_synced_before_it_is_acknowledged(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    process = writer(
        path, 0, 10, "strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,write", "-o", str(trace)
    )
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0

    calls = re.findall(r"(fsync|fdatasync|write\(1,)", trace.read_text())
    acknowledgements = [i for i, call in enumerate(calls) if call == "write(1,"]
    assert len(acknowledgements) == 10
    assert all(calls[i - 1] in ("fsync", "fdatasync") for i in acknowledgements)


def test_a_pid_that_cannot_be_written_down_does_not_stop_the_owner(tmp_path: Path) -> None:
    with files_up_to(0):
        owner = StoreLock(tmp_path)
    with pytest.raises(ConfigError, match="another process"):
        StoreLock(tmp_path)
    owner.release()
    owner.release()

    StoreLock(tmp_path).release()


def test_errors_of_jobs_survive_a_restart(path: Path, executor: Executor) -> None:
    error = JobError(code="x", message="m", fix="f")
    with opened(path, executor) as store:
        store.add(make_job())
        store.claim(make_job().id, NOW)
        store.finish(make_job().id, 1, JobStatus.FAILED, NOW, error=error)

    with opened(path, executor) as store:
        assert store.get(make_job().id).error == error


# Under gevent

GEVENT = """
from gevent import monkey; monkey.patch_all()
import sqlite3, sys, time
import gevent
from gevent.threadpool import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.store.sqlite import SqliteJobStore

path = Path(sys.argv[1])
store = SqliteJobStore(path, ThreadPoolExecutor(1))
request = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())

def job(number):
    return Job(id=f"job_{number:024}", status=JobStatus.QUEUED, request=request, file_name="x", size_bytes=1,
               created_at=datetime.now(UTC))

other = sqlite3.connect(path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
blocked = [gevent.spawn(store.add, job(number)) for number in range(50)]
ticks = 0
until = time.monotonic() + 10
while ticks < 10 and time.monotonic() < until:
    gevent.sleep(0.005)
    ticks += 1
waiting = sum(not greenlet.ready() for greenlet in blocked)
other.execute("COMMIT")
gevent.joinall(blocked, raise_error=True)
claims = [gevent.spawn(store.claim, job(number % 50).id, datetime.now(UTC)) for number in range(100)]
gevent.joinall(claims, raise_error=True)
won = sum(claim.value is not None for claim in claims)
store.close()
print(ticks, waiting, won, len(sqlite3.connect(path).execute("SELECT id FROM jobs").fetchall()))
"""


def test_a_blocked_store_does_not_stop_the_gevent_hub(path: Path) -> None:
    package = Path(sys.modules["transcriber"].__file__ or "").parents[1]
    began = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-c", GEVENT, str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(package)},
        timeout=DEADLINE_SECONDS,
    )

    assert done.returncode == 0, done.stderr
    ticks, waiting, won, rows = map(int, done.stdout.split())
    assert ticks >= 10, f"the hub stood still ({time.monotonic() - began:.1f} s)"
    assert (waiting, won, rows) == (50, 50, 50)
