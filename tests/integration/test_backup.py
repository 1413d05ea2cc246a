"""scripts/backup, run for real beside a service's parts that write, and what comes of its copies."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from job_stores import NOW, make_job, opened
from transcriber.domain.jobs import Job, JobStatus
from transcriber.jobs.files.results import FileResultStore
from transcriber.jobs.files.spool import Spool
from transcriber.jobs.retention import Orphans, Retention
from transcriber.system.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
OLD_STORE = ROOT / "tests" / "data" / "store_0001.sql"
DEADLINE_SECONDS = 60

#: A service's life in short: accept (A n), run, finish (F n), and begin to purge every third job (P n).
WRITER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from job_stores import NOW, make_job
from transcriber.domain.jobs import JobStatus
from transcriber.jobs.files.results import FileResultStore
from transcriber.jobs.retention import purge_job
from transcriber.jobs.files.spool import Spool
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriptions import make_transcription

data, first = Path(sys.argv[1]), int(sys.argv[2])
store = SqliteJobStore(data / "jobs.sqlite3", ThreadPoolExecutor(1))
spool, results, native = Spool(data / "spool", 0), FileResultStore(data / "results"), ThreadPoolExecutor(1)

def say(what, number):
    os.write(1, f"{what} {number}\\n".encode())

def accept(number):
    spool.create(make_job(number).id)
    spool.upload_path(make_job(number).id).write_bytes(str(number).encode() * 1000)
    spool.commit(make_job(number).id)
    store.add(make_job(number))
    say("A", number)

def finish(number):
    job = store.claim(make_job(number).id, NOW)
    spool.journal_path(job.id).write_text("window 0\\n")
    results.save(make_transcription(job_id=job.id, text=str(number)))
    store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW)
    spool.drop_work(job.id)
    say("F", number)

def purge(number):
    say("P", number)
    purge_job(store.get(make_job(number).id), store=store, spool=spool, results=results, output=None, native=native)

for number in range(first, first + 100_000):
    accept(number)
    if number % 4:
        finish(number)
    if number % 3 == 1 and number % 4:
        purge(number)
"""


class Writer:
    """The process that writes, and what it has said."""

    def __init__(self, data: Path, first: int = 0) -> None:
        self.said: dict[str, set[int]] = {"A": set(), "F": set(), "P": set()}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data), str(first)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'flask-app'}:{ROOT / 'tests' / 'support'}"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, accepted: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(self.said["A"]) < accepted:
            assert time.monotonic() < deadline and self._process.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._reader.join()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):
                    what, number = line.split()
                    self.said[what].add(int(number))


@contextmanager
def writing(data: Path) -> Iterator[Writer]:
    writer = Writer(data)
    try:
        yield writer
    finally:
        writer.kill()


def back_up(data: Path, to: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "backup", "--data", data, "--to", to],
        capture_output=True,
        text=True,
        env=os.environ | environ,
        timeout=DEADLINE_SECONDS,
    )


def backup_in(folder: Path) -> Path:
    [backup] = folder.iterdir()
    return backup


def jobs_restored(backup: Path, data: Path) -> dict[int, Job]:
    """Put the copy in the place of a data folder and open it as the service does; every file must be there."""
    shutil.copytree(backup, data)
    spool, results = Spool(data / "spool", 0), FileResultStore(data / "results")
    with (
        ThreadPoolExecutor(1) as native,
        ThreadPoolExecutor(1) as executor,
        opened(data / "jobs.sqlite3", executor) as store,
    ):
        jobs = {int(job.id[4:]): job for job in store.list_jobs(limit=1_000_000)}
        for number, job in jobs.items():
            assert job.has_upload
            assert spool.upload_path(job.id).read_bytes() == str(number).encode() * 1000
            result = results.find(job.id)
            text = str(number) if job.status is JobStatus.SUCCEEDED else None
            assert (result and result.text) == text
        retention = Retention(
            store=store,
            results=results,
            spool=spool,
            clock=SystemClock(),
            native=native,
            keep_uploads=timedelta(days=1),
            keep_results=timedelta(days=1),
            disk_budget_bytes=None,
        )
        assert retention.sweep_orphans() == Orphans(uploads=(), results=())
    return jobs


def test_copies_of_a_store_in_use_are_whole_and_have_every_acknowledged_job(tmp_path: Path) -> None:
    data = tmp_path / "data"
    backups: list[tuple[Path, set[int], set[int], set[int]]] = []
    with writing(data) as writer:
        for number in range(4):
            writer.wait_for(30 * (number + 1))
            accepted, finished = set(writer.said["A"]), set(writer.said["F"])
            done = back_up(data, tmp_path / f"backups-{number}")
            purged = set(writer.said["P"]) | {max(writer.said["A"]) + 1, max(writer.said["A"]) + 2}
            assert (done.returncode, done.stderr) == (0, "")
            backups.append((backup_in(tmp_path / f"backups-{number}"), accepted, finished, purged))

    for number, (backup, accepted, finished, purged) in enumerate(backups):
        jobs = jobs_restored(backup, tmp_path / f"restored-{number}")
        assert accepted - purged <= set(jobs)
        assert all(jobs[n].status is JobStatus.SUCCEEDED for n in finished - purged)
        assert len(accepted - purged) >= 15 * (number + 1)


def test_what_goes_while_files_are_copied_is_not_in_the_copy(tmp_path: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    spool = Spool(data / "spool", 0)
    with ThreadPoolExecutor(1) as executor, opened(data / "jobs.sqlite3", executor) as store:
        for number in range(300):
            spool.create(make_job(number).id)
            spool.upload_path(make_job(number).id).write_bytes(str(number).encode() * 1000)
            store.add(make_job(number))
        last = make_job(299).id
        script = [sys.executable, ROOT / "scripts" / "backup", "--data", data, "--to", backups]
        with subprocess.Popen(script, stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not list(backups.glob(".*.partial/spool/*/upload")):
                assert time.monotonic() < deadline and process.poll() is None
            process.send_signal(signal.SIGSTOP)
            assert not list(backups.glob(f".*.partial/spool/{last}/upload"))
            store.cancel_queued(last, NOW)
            store.purge(last)
            spool.remove(last)
            process.send_signal(signal.SIGCONT)
        assert process.returncode == 0

    assert set(jobs_restored(backup_in(backups), tmp_path / "restored")) == set(range(299))


def test_a_copy_after_a_kill_has_every_acknowledged_job(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with writing(data) as writer:
        writer.wait_for(25)
    assert (data / "jobs.sqlite3-wal").exists()

    done = back_up(data, tmp_path / "backups")

    # A row whose file the killed service still had to remove is gone already; the other way round is impossible.
    assert (done.returncode, done.stderr) == (0, "")
    jobs = jobs_restored(backup_in(tmp_path / "backups"), tmp_path / "restored")
    assert writer.said["A"] - writer.said["P"] <= set(jobs)


def test_a_restored_service_goes_on_where_the_copy_was_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with writing(data) as writer:
        writer.wait_for(10)
    back_up(data, tmp_path / "backups")
    restored = tmp_path / "restored"
    jobs = jobs_restored(backup_in(tmp_path / "backups"), restored)

    later = Writer(restored, first=1000)
    later.wait_for(5)
    later.kill()

    with ThreadPoolExecutor(1) as executor, opened(restored / "jobs.sqlite3", executor) as store:
        numbers = [job.number for job in store.list_jobs(limit=1_000_000)]
        assert set(jobs) <= {int(job_id[4:]) for job_id in store.ids()}
    assert len(set(numbers)) == len(numbers)


def test_a_copy_is_for_our_user_alone_and_leaves_the_source_as_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ThreadPoolExecutor(1) as executor, opened(data / "jobs.sqlite3", executor) as store:
        store.add(make_job())
        store.cancel_queued(make_job().id, NOW)
        store.note_upload_removed(make_job().id)
    before = (data / "jobs.sqlite3").read_bytes()

    done = back_up(data, tmp_path / "backups")

    backup = backup_in(tmp_path / "backups")
    assert done.stdout == f"{backup}: 1 jobs, 0 files of theirs\n"
    assert [path.name for path in backup.iterdir()] == ["jobs.sqlite3"]
    assert {path.stat().st_mode & 0o077 for path in (backup, backup / "jobs.sqlite3")} == {0}
    assert (data / "jobs.sqlite3").read_bytes() == before


def test_a_store_of_version_0001_can_be_copied_before_the_upgrade(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "jobs.sqlite3")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(OLD_STORE.read_text())
    for number in (3, 4, 5):
        (data / "spool" / make_job(number).id).mkdir(parents=True)
        (data / "spool" / make_job(number).id / "upload").write_bytes(b"x")
    (data / "results").mkdir()
    (data / "results" / f"{make_job(0).id}.json").write_text("{}")

    done = back_up(data, tmp_path / "backups")

    assert (done.returncode, done.stderr) == (0, "")
    assert "6 jobs, 4 files" in done.stdout
    with closing(sqlite3.connect(backup_in(tmp_path / "backups") / "jobs.sqlite3")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)


def test_a_file_that_is_missing_is_named_and_the_rest_is_copied(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with writing(data) as writer:
        writer.wait_for(5)
    (data / "spool" / make_job(0).id / "upload").unlink()

    done = back_up(data, tmp_path / "backups")

    assert done.returncode == 3
    assert make_job(0).id in done.stderr and done.stderr.count("\n") == 1
    assert (backup_in(tmp_path / "backups") / "spool" / make_job(2).id / "upload").exists()


def test_a_damaged_store_is_not_taken_for_a_backup(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ThreadPoolExecutor(1) as executor, opened(data / "jobs.sqlite3", executor) as store:
        for number in range(200):
            store.add(make_job(number))
    with (data / "jobs.sqlite3").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 4))

    done = back_up(data, tmp_path / "backups")

    assert done.returncode == 1
    assert "damaged" in done.stderr or "malformed" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "backups") == []


@pytest.mark.parametrize("data", ["nowhere", "file"])
def test_what_is_no_data_folder_is_named(tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("")

    done = back_up(tmp_path / data, tmp_path / "backups")

    assert done.returncode == 1
    assert str(tmp_path / data) in done.stderr and "--data" in done.stderr
    assert not (tmp_path / "backups").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ThreadPoolExecutor(1) as executor, opened(data / "jobs.sqlite3", executor):
        pass
    (tmp_path / "file").write_text("")

    done = back_up(data, tmp_path / "file" / "backups")

    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr and "Traceback" not in done.stderr


def test_the_data_folder_is_the_services_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor, opened(tmp_path / "data" / "jobs.sqlite3", executor):
        pass

    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "backup"],
        capture_output=True,
        text=True,
        env=os.environ | {"WHISPER_DATA_DIR": str(tmp_path / "data")},
        timeout=DEADLINE_SECONDS,
    )

    assert done.returncode == 0
    assert backup_in(tmp_path / "data" / "backups").joinpath("jobs.sqlite3").exists()
