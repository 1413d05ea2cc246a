"""A watched folder over an in-memory store and a real spool: what is taken, when, and what becomes of it."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from fake_ports import FakeClock
from service_bench import DEADLINE, REQUEST, Bench, eventually
from transcriber.config.parsers import TRANSCRIPT_FORMATS
from transcriber.domain.errors import QueueFullError, StorageFullError, UndecodableMediaError
from transcriber.domain.jobs import JobStatus
from transcriber.domain.transcript import Transcription
from transcriber.formats.table import DOWNLOADS
from transcriber.jobs.queue import Slots
from transcriber.sources.watched_folder import PRIORITY, RETRIES, FoundFile, WatchedFolder, WatchSettings
from transcriber.system.durable_files import storage_errors

SETTLE = 10.0


def srt(transcription: Transcription) -> bytes:
    return f"1\n{transcription.text}\n".encode()


class Watched:
    """A folder, its service, and looks at it in a time that the test moves on."""

    def __init__(self, folder: Path, native: concurrent.futures.Executor, **changes: object) -> None:
        self.bench = Bench(folder / "service", native, **changes)  # type: ignore[arg-type]
        self.folder = folder / "watched"
        self.folder.mkdir()
        self.clock = FakeClock()
        self.output: Path | None = None
        self.formats: dict[str, Callable[[Transcription], bytes]] = {"srt": srt}
        self.watch = self.make()
        self.bench.service.start()

    def make(self) -> WatchedFolder:
        """The watch of a service that has just started."""
        return WatchedFolder(
            WatchSettings(
                folder=self.folder,
                output=self.output,
                formats=self.formats,
                markers=self.bench.folder / "markers",
                poll_seconds=5,
                settle_seconds=SETTLE,
            ),
            self.bench.service,
            lambda: REQUEST,
            self.clock,
            lambda work: work(),
        )

    def restart(self) -> None:
        """As after a kill: nothing of the process is left but store, spool and folders."""
        self.bench.restart()
        self.watch = self.make()

    def drop(self, name: str, data: bytes = b"media") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def settle(self) -> None:
        """Two looks, with the time between them that a file must rest."""
        self.watch.look()
        self.clock.seconds += SETTLE
        self.watch.look()

    def finish(self) -> None:
        """Look until every job has ended, and once more to deliver."""
        self.settle()
        counts = self.bench.service.counts
        assert eventually(lambda: not counts()[JobStatus.QUEUED] and not counts()[JobStatus.RUNNING])
        self.watch.look()

    @property
    def jobs(self) -> int:
        return sum(self.bench.service.counts().values())

    def names(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def native() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def watched(tmp_path: Path, native: concurrent.futures.Executor) -> Iterator[Watched]:
    made = Watched(tmp_path, native)
    yield made
    made.bench.engine.go.set()
    made.bench.service.close(DEADLINE)


def test_file_gets_its_subtitles_beside_it_and_is_done_once(watched: Watched) -> None:
    watched.drop("series/film.mkv")

    watched.finish()
    watched.finish()

    assert watched.names() == {"series/film.mkv", "series/film.en.srt"}
    assert (watched.folder / "series/film.en.srt").read_text().startswith("1\n")
    (job,) = watched.bench.service.page().jobs
    assert (job.file_name, job.priority) == ("film.mkv", PRIORITY)


def test_file_that_grows_is_left_until_it_rests(watched: Watched) -> None:
    path = watched.drop("film.mkv", b"a")
    for size in range(2, 6):
        watched.watch.look()
        watched.clock.seconds += SETTLE - 1
        path.write_bytes(b"a" * size)

    watched.watch.look()
    assert watched.jobs == 0
    watched.finish()

    assert watched.jobs == 1
    assert watched.bench.spool.upload_path(watched.bench.service.page().jobs[0].id).read_bytes() == b"aaaaa"


@pytest.mark.parametrize(
    "name",
    [
        "film.mkv.part",
        "film.en.srt",
        ".film.mkv",
        ".hidden/film.mkv",
        "notes.txt",
        "mkv",
        "film.mkv.error.txt",
    ],
)
def test_what_is_no_media_file_is_left_alone(watched: Watched, name: str) -> None:
    watched.drop(name)

    watched.finish()

    assert watched.jobs == 0 and watched.names() == {name}


def test_empty_file_and_link_are_left_alone(watched: Watched) -> None:
    watched.drop("film.mkv", b"")
    outside = watched.bench.folder / "secret.mp3"
    outside.write_bytes(b"secret")
    (watched.folder / "link.mp3").symlink_to(outside)
    (watched.folder / "folder").symlink_to(watched.bench.folder, target_is_directory=True)

    watched.finish()

    assert watched.jobs == 0


def test_restart_at_any_moment_makes_no_second_job_and_loses_none(watched: Watched) -> None:
    watched.drop("film.mkv")
    watched.watch.look()
    watched.restart()
    watched.bench.engine.hold_at = 1
    watched.settle()
    assert watched.bench.engine.held.acquire(timeout=DEADLINE)
    watched.bench.restart()
    watched.watch = watched.make()
    watched.bench.engine.go.set()
    watched.finish()
    watched.restart()
    watched.finish()

    assert watched.jobs == 1 and watched.names() == {"film.mkv", "film.en.srt"}


def test_killed_between_the_end_and_the_delivery_it_delivers_after_the_start(watched: Watched) -> None:
    watched.drop("film.mkv")
    watched.settle()
    assert eventually(lambda: watched.bench.service.counts()[JobStatus.SUCCEEDED] == 1)
    watched.restart()

    watched.settle()

    assert watched.names() == {"film.mkv", "film.en.srt"} and watched.jobs == 1


def test_job_that_retention_removed_is_not_done_again(watched: Watched) -> None:
    watched.drop("film.mkv")
    watched.finish()
    watched.bench.service.purge(watched.bench.service.page().jobs[0].id)
    (watched.folder / "film.en.srt").unlink()
    watched.restart()

    watched.finish()

    assert watched.jobs == 0 and watched.names() == {"film.mkv"}


def test_file_that_is_replaced_is_done_again_and_its_subtitles_too(watched: Watched) -> None:
    watched.drop("film.mkv")
    watched.finish()
    watched.drop("film.mkv", b"another")

    watched.finish()

    assert watched.jobs == 2 and watched.names() == {"film.mkv", "film.en.srt"}


def test_rename_within_the_folder_is_a_new_file(watched: Watched) -> None:
    path = watched.drop("film.mkv")
    watched.finish()
    path.rename(watched.folder / "movie.mkv")

    watched.finish()

    assert "movie.en.srt" in watched.names()


def test_file_that_changes_while_it_is_transcribed_gets_the_new_text_only(watched: Watched) -> None:
    watched.bench.engine.hold_at = 1
    watched.drop("film.mkv")
    watched.settle()
    assert watched.bench.engine.held.acquire(timeout=DEADLINE)
    watched.drop("film.mkv", b"longer than before")
    watched.bench.engine.go.set()
    assert eventually(lambda: watched.bench.service.counts()[JobStatus.SUCCEEDED] == 1)
    watched.watch.look()
    assert watched.names() == {"film.mkv"}

    watched.finish()

    assert watched.jobs == 2 and watched.names() == {"film.mkv", "film.en.srt"}


def test_failure_is_a_file_that_goes_with_a_success(watched: Watched) -> None:
    watched.bench.decoder.error = UndecodableMediaError("Nothing there.")
    watched.drop("film.mkv")
    watched.finish()
    assert watched.names() == {"film.mkv", "film.mkv.error.txt"}
    assert (
        (watched.folder / "film.mkv.error.txt").read_text().startswith("undecodable_media: Nothing there.\n")
    )
    watched.bench.decoder.error = None
    watched.drop("film.mkv", b"mended")

    watched.finish()

    assert watched.names() == {"film.mkv", "film.en.srt"}


def test_subtitles_of_people_and_of_other_files_are_never_overwritten(watched: Watched) -> None:
    watched.drop("film.mkv")
    watched.drop("film.en.srt", b"made by hand")
    watched.drop("talk.mp4", b"one")
    watched.finish()
    (watched.folder / "talk.en.srt").write_text("corrected by hand")
    watched.drop("talk.mp4", b"another cut")
    watched.drop("talk.mov", b"the same talk")

    watched.finish()

    assert (watched.folder / "film.en.srt").read_bytes() == b"made by hand"
    assert (watched.folder / "talk.en.srt").read_bytes() == b"corrected by hand"
    assert {"film.mkv.en.srt", "talk.mp4.en.srt", "talk.mov.en.srt"} <= watched.names()


def test_transcripts_go_to_a_folder_of_their_own_in_several_formats(watched: Watched) -> None:
    watched.output = watched.bench.folder / "texts"
    watched.formats = {"srt": srt, "txt": lambda transcription: transcription.text.encode()}
    watched.watch = watched.make()
    watched.drop("a/b/film.mkv")

    watched.finish()

    assert watched.names() == {"a/b/film.mkv"}
    assert sorted(os.listdir(watched.output / "a" / "b")) == ["film.en.srt", "film.en.txt"]


def test_full_queue_takes_the_rest_later(tmp_path: Path, native: concurrent.futures.Executor) -> None:
    watched = Watched(tmp_path, native, slots=Slots(long=1, short=0, max_queue=2))
    watched.bench.engine.hold_at = 1
    for number in range(8):
        watched.drop(f"{number}.mp3", str(number).encode())

    with pytest.raises(QueueFullError):
        watched.settle()
    assert watched.jobs <= 4
    watched.bench.engine.hold_at = None
    watched.bench.engine.go.set()

    def is_done() -> bool:
        try:
            watched.watch.look()
        except QueueFullError:
            return False
        return len([name for name in watched.names() if name.endswith(".srt")]) == 8

    assert eventually(is_done)
    assert watched.jobs == 8
    watched.bench.service.close(DEADLINE)


def test_file_that_can_not_be_read_holds_up_no_other(watched: Watched) -> None:
    bad = watched.drop("a/bad.mkv")
    watched.drop("good.mkv")
    os.utime(bad, (1, 1))
    read = watched.watch._copy

    def fail(file: FoundFile, place: Path) -> bool:
        with storage_errors():
            if file.name == "a/bad.mkv" and bad.exists():
                raise PermissionError(13, "Permission denied", str(bad))
        return read(file, place)

    watched.watch._copy = fail  # type: ignore[method-assign]

    with structlog.testing.capture_logs() as logs:
        watched.finish()
        for _ in range(3):
            watched.clock.seconds += SETTLE
            watched.watch.look()
        bad.unlink()
        watched.watch.look()

    assert "good.en.srt" in watched.names()
    told = [(line["event"], line.get("error", "")) for line in logs if "job_id" not in line]
    assert told == [
        ("watched_files_failed", f"[Errno 13] Permission denied: '{bad}'"),
        ("watched_folder_well", ""),
    ]


def test_transcript_that_can_not_be_written_is_tried_again_and_holds_up_no_other(watched: Watched) -> None:
    watched.output = watched.bench.folder / "texts"
    watched.watch = watched.make()
    watched.output.mkdir()
    (watched.output / "a").write_text("in the way of a folder")
    watched.drop("a/film.mkv")
    watched.drop("b/film.mkv")
    watched.finish()
    assert (watched.output / "b" / "film.en.srt").exists()
    (watched.output / "a").unlink()
    watched.watch.look()
    assert not (watched.output / "a").exists(), "it rests before the next try"

    watched.clock.seconds += RETRIES.first
    watched.watch.look()

    assert (watched.output / "a" / "film.en.srt").exists()


@pytest.mark.parametrize("ending", ["srt", "verbose_json"])
@pytest.mark.parametrize("letter", ["x", "日"])
def test_longest_name_of_a_file_gets_its_transcript(watched: Watched, letter: str, ending: str) -> None:
    name = letter * (251 // len(letter.encode()))
    watched.formats = {ending: srt}
    watched.watch = watched.make()
    watched.drop(f"{name}.mkv")

    watched.finish()

    (made,) = watched.names() - {f"{name}.mkv"}
    assert made.endswith(f".en.{ending}") and len(made.encode()) <= 255


def test_folder_in_the_place_of_a_transcript_is_passed_over(watched: Watched) -> None:
    watched.drop("film.mkv")
    (watched.folder / "film.en.srt").mkdir()

    watched.finish()

    assert "film.mkv.en.srt" in watched.names()


class Rounds(threading.Event):
    """Ends a watch after a number of looks, without a wait between them."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds

    def wait(self, timeout: float | None = None) -> bool:
        self._rounds -= 1
        if self._rounds == 0:
            self.set()
        return self.is_set()


def test_log_is_told_once_that_nothing_more_is_taken(watched: Watched) -> None:
    looks: Iterator[Exception | None] = iter([StorageFullError()] * 5 + [None, StorageFullError()])

    def look() -> None:
        error = next(looks)
        if error is not None:
            raise error

    watched.watch.look = look  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logs:
        watched.watch.run(Rounds(7))

    assert [line["event"] for line in logs] == [
        "watched_folder_waits",
        "watched_folder_well",
        "watched_folder_waits",
    ]


def test_folder_that_is_away_harms_nobody(watched: Watched) -> None:
    watched.folder.rmdir()
    watched.settle()
    watched.folder.mkdir()
    watched.drop("film.mkv")

    watched.finish()

    assert "film.en.srt" in watched.names()


def test_every_format_of_the_setting_can_be_written() -> None:
    assert set(TRANSCRIPT_FORMATS) == set(DOWNLOADS)
