"""A service killed at random moments of finishing resumable uploads, saving edits, retention and claims.

As a program it is that service: it says on its standard output what it has acknowledged, and is killed. After each
kill everything that was acknowledged has to be there, once.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from service_bench import REQUEST, WEBHOOK, Bench
from transcriber.domain.edits import EditedSegment
from transcriber.domain.errors import JobNotFoundError, TranscriberError, UploadNotFoundError
from transcriber.domain.jobs import JobStatus, SubmissionTerms
from transcriber.jobs.queue import Slots
from transcriber.jobs.retention import Retention
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriber.service.submission import Upload
from transcriber.system.clock import SystemClock

SOURCE = Path(__file__).parents[1] / "data" / "slow_sync.c"
BYTES = b"0123456789abcdef"

#: How long uploads and transcripts of ended jobs are kept here, in seconds, and what the clock may be read too late.
KEEP_UPLOADS, KEEP_RESULTS, SLACK = 0.3, 2.0, 0.1

#: The longest an fsync takes, and the longest life of a process, in milliseconds and seconds.
SLOW_SYNC_MS = 25
LONGEST_LIFE = 3.0


@dataclass
class Said:
    """What all processes so far have acknowledged."""

    whole: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    edits: dict[str, int] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)

    def hear(self, line: str) -> None:
        """One whole line of a process."""
        what, job_id, *more = line.split()
        match what:
            case "whole":
                self.whole.add(job_id)
            case "job":
                self.jobs.add(job_id)
            case "edit":
                self.edits[job_id] = max(int(more[0]), self.edits.get(job_id, 0))
            case "ended":
                self.ended[job_id] = float(more[0])
                self.ends[job_id] += 1


@contextmanager
def benched(folder: Path) -> Iterator[Bench]:
    """The service's parts over what lies in this folder; nothing is started."""
    with ThreadPoolExecutor(4) as native, ThreadPoolExecutor(1) as writer:
        store = SqliteJobStore(folder / "jobs.sqlite3", writer)
        try:
            slots = Slots(long=2, short=2, max_queue=50)
            yield Bench(folder, native, slots=slots, store=store)  # type: ignore[arg-type]
        finally:
            store.close()


def main(folder: Path) -> None:
    """The process that is killed."""
    with benched(folder) as bench:
        bench.service.observe_jobs(lambda job, transcription, error: say("ended", job.id, time.time()))
        bench.service.start()
        say("ready", "-")
        for work in (finish_uploads, send_files, save_edits, keep_house):
            threading.Thread(target=work, args=(bench,), daemon=True).start()
        time.sleep(60)
        os._exit(1)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def finish_uploads(bench: Bench) -> None:
    service = bench.service
    while True:
        with suppressed():
            upload = service.resumable.create(len(BYTES), "a.wav")
            with service.resumable.turn(upload.id, 0, lambda: None) as turn:
                turn.write(BYTES)
            say("whole", upload.id)
            with service.resumable.claimed(upload.id):
                place = Upload(job_id=upload.id, path=service.resumable.path(upload.id))
                submit(bench, place)
            say("job", upload.id)


def send_files(bench: Bench) -> None:
    while True:
        with suppressed():
            place = bench.service.begin_upload()
            place.path.write_bytes(BYTES)
            submit(bench, place)
            say("job", place.job_id)


def submit(bench: Bench, place: Upload) -> None:
    terms = SubmissionTerms(webhook=WEBHOOK)
    bench.service.submit(place, REQUEST, file_name="a.wav", request_id="r1", terms=terms)


def save_edits(bench: Bench) -> None:
    while True:
        for job in bench.service.page(statuses=(JobStatus.SUCCEEDED,), limit=5).jobs:
            with suppressed():
                before = bench.service.transcripts.get(job.id)
                segment = before.transcription.segments[0]
                text = f"revision {before.edit.revision + 1}"
                made = EditedSegment(start=segment.start, end=segment.end, text=text)
                after = bench.service.transcripts.save(job.id, before.edit.revision, [made])
                say("edit", job.id, after.edit.revision)


def keep_house(bench: Bench) -> None:
    retention = Retention(
        store=bench.store,
        results=bench.results,
        spool=bench.spool,
        clock=SystemClock(),
        native=bench.native,
        keep_uploads=timedelta(seconds=KEEP_UPLOADS),
        keep_results=timedelta(seconds=KEEP_RESULTS),
        disk_budget_bytes=None,
    )
    while True:
        with suppressed():
            retention.sweep()
        time.sleep(0.05)


@contextmanager
def suppressed() -> Iterator[None]:
    """A refusal (a full queue, a job that has just gone) is no fault: nothing was acknowledged."""
    try:
        yield
    except TranscriberError:
        time.sleep(0.02)


# The side that kills


@dataclass
class Tally:
    """What came of it."""

    kills: int = 0
    jobs: int = 0
    uploads: int = 0
    edits: int = 0
    undone_claims: int = 0
    faults: list[str] = field(default_factory=list)

    def report(self) -> str:
        return (
            f"kills {self.kills}, acknowledged: uploads {self.uploads}, jobs {self.jobs}, edited {self.edits}; "
            f"claims that a kill left {self.undone_claims}; faults {len(self.faults)}"
        )


def run_kills(folder: Path, kills: int, seed: int) -> Tally:
    """Start, kill and look, so many times."""
    chance, said, counts = random.Random(seed), Said(), Tally()
    library = build_library(folder)
    data = folder / "data"
    for number in range(kills):
        killed_at = live_and_die(data, library, chance.uniform(0.05, LONGEST_LIFE), said)
        counts.kills += 1
        counts.undone_claims += len(list(data.glob("spool/*/claimed")))
        counts.faults += [f"kill {number}: {fault}" for fault in look(data, said, killed_at)]
    counts.jobs, counts.uploads, counts.edits = len(said.jobs), len(said.whole), len(said.edits)
    return counts


def build_library(folder: Path) -> Path:
    """slow_sync.c, compiled."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "slow_sync.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def live_and_die(data: Path, library: Path, life: float, said: Said) -> float:
    """One process from its start to its kill; the time of that."""
    data.mkdir(exist_ok=True)
    environ = os.environ | {"LD_PRELOAD": str(library), "SLOW_SYNC_MS": str(SLOW_SYNC_MS)}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    with (data.parent / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(data)], stdout=subprocess.PIPE, stderr=log, env=environ
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # "ready", or what ended before
        while lines[-1].strip() and not lines[-1].startswith(b"ready"):
            lines.append(process.stdout.readline())
        time.sleep(life)  # the random moment
        process.kill()
        killed_at = time.time()
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
    if not any(line.startswith(b"ready") for line in lines):
        raise AssertionError((data.parent / "log").read_text()[-2000:])
    for line in lines:
        if line.endswith(b"\n") and not line.startswith(b"ready"):
            said.hear(line.decode())
    return killed_at


def look(data: Path, said: Said, killed_at: float) -> list[str]:
    """What a start finds, and whether that is what was acknowledged."""
    with benched(data) as bench:
        bench.service.resumable.settle_all()
        bench.service._storage.retention.sweep_orphans()
        faults = [*find_lost(bench, said, killed_at), *find_doubled(bench, said), *find_torn(bench)]
        # Of some ends the process was killed before it could say so; from now on they may be purged.
        for job in bench.store.list_jobs(limit=100_000):
            if job.completed_at is not None:
                said.ended.setdefault(job.id, job.completed_at.timestamp())
    return faults


def find_lost(bench: Bench, said: Said, killed_at: float) -> Iterator[str]:
    for job_id in said.jobs | said.whole:
        is_job, is_upload = has_job(bench, job_id), has_upload(bench, job_id)
        may_be_purged = killed_at - said.ended.get(job_id, killed_at) >= KEEP_RESULTS - SLACK
        if is_job and is_upload:
            yield f"{job_id} is a job and an upload"
        if job_id in said.jobs and not is_job and not may_be_purged:
            yield f"job {job_id} is lost"
        if job_id not in said.jobs and not is_job and not is_upload and not may_be_purged:
            yield f"upload {job_id} is lost"
    for job_id, revision in said.edits.items():
        found = bench.store.transcripts.find_edit(job_id).revision
        if has_job(bench, job_id) and found < revision:
            yield f"{job_id} is at revision {found}, and {revision} was saved"


def find_doubled(bench: Bench, said: Said) -> Iterator[str]:
    yield from (f"{job_id} ended {times} times" for job_id, times in said.ends.items() if times > 1)
    for job in bench.store.list_jobs(limit=100_000):
        if len(bench.store.outbox.of_job(job.id)) != job.status.is_final:
            yield f"{job.id} is {job.status.value}, with {len(bench.store.outbox.of_job(job.id))} messages"


def find_torn(bench: Bench) -> Iterator[str]:
    """Rows and files that don't fit together."""
    rows = bench.store.list_jobs(limit=100_000)
    with_upload = {job.id for job in rows if job.has_upload}
    succeeded = {job.id for job in rows if job.status is JobStatus.SUCCEEDED}
    unfinished = {job.id for job in rows if not job.status.is_final}
    if found := bench.spool.ids() ^ (with_upload | bench.spool.resting().keys()):
        yield f"uploads and rows differ: {sorted(found)}"
    if found := bench.results.ids() - succeeded - unfinished:
        yield f"results without a row: {sorted(found)}"
    if found := succeeded - bench.results.ids():
        yield f"rows without a result: {sorted(found)}"
    for job_id in with_upload:
        if bench.spool.upload_path(job_id).read_bytes() != BYTES:
            yield f"the upload of {job_id} is another"


def has_job(bench: Bench, job_id: str) -> bool:
    return is_found(lambda: bench.store.get(job_id))


def has_upload(bench: Bench, job_id: str) -> bool:
    return is_found(lambda: bench.service.resumable.get(job_id))


def is_found(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (JobNotFoundError, UploadNotFoundError):
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
