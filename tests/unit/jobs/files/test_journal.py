"""The journal of a job: what was written is what is read, whatever a crash tore off."""

from __future__ import annotations

import concurrent.futures
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from transcriber.domain.errors import StorageFailedError
from transcriber.domain.events import FinishedWindow, LanguageDetected, Planned, Resumption
from transcriber.domain.ports import DecodedAudio
from transcriber.domain.transcript import EngineShare, Notice, Word
from transcriber.jobs.files.journal import Journal, JournalState, read
from transcriptions import make_segment

LANGUAGE = LanguageDetected(language="en", language_probability=0.123456789012345)
ON_CPU = EngineShare(
    claimed_device="cpu",
    compute_type="int8_float32",
    requested_compute_type="int8",
    engine_pid=7,
    libraries={"libctranslate2": "/lib/libctranslate2.so"},
)
WORDS = (Word(start=0.1, end=0.30000000000000004, word=" a", probability=1 / 3),)


def planned(
    first: int,
    *windows: tuple[int, int],
    is_complete: bool = True,
    speech: tuple[tuple[tuple[int, int], ...], ...] = (),
) -> Planned:
    return Planned(
        first_index=first,
        windows=windows,
        is_complete=is_complete,
        duration_after_vad=9.5,
        vad_seconds=0.25,
        speech=speech,
    )


def window(index: int, device: str = "cpu") -> FinishedWindow:
    segment = make_segment(id=index, start=index / 3, words=WORDS, text=" ümlaut \ud800 \n")
    return FinishedWindow(index=index, device=device, segments=(segment,))


def audio(folder: Path) -> DecodedAudio:
    return DecodedAudio(
        path=folder / "audio.pcm",
        samples=4,
        container="flac",
        codec="flac",
        channels=1,
        sample_rate=16_000,
        audio_streams=1,
        stream_index=0,
        notices=(Notice(code="damaged_audio", message="Parts.", param="audio"),),
    )


@pytest.fixture
def native() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def fill(path: Path, native: concurrent.futures.Executor, windows: int = 3) -> JournalState:
    """A journal of a job with this many finished windows, closed."""
    journal = Journal.open(path, native)
    journal.begin()
    journal.add_audio(audio(path.parent), "boot", 1.5)
    journal.begin_run(ON_CPU)
    journal.add_language(LANGUAGE)
    journal.add_plan(planned(0, (0, 10), (10, 20), is_complete=False))
    for index in range(windows):
        journal.add_window(window(index), (1, 2, index), 0.5 * (index + 1))
    journal.add_plan(planned(2, (20, 35)))
    journal.sync()
    journal.close()
    return journal.state


def test_state_read_is_the_state_written(path: Path, native: concurrent.futures.Executor) -> None:
    written = fill(path, native)

    assert read(path) == written
    assert written.resumption == Resumption(
        language="en",
        language_probability=LANGUAGE.language_probability,
        plan=planned(0, (0, 10), (10, 20), (20, 35)),
        finished=(window(0), window(1), window(2)),
        history=(1, 2, 2),
    )
    assert written.finished_samples() == 35
    assert written.audio == audio(path.parent)


def test_every_torn_end_keeps_what_was_whole(path: Path, native: concurrent.futures.Executor) -> None:
    fill(path, native)
    data = path.read_bytes()
    counts = []
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        counts.append(len(read(path).windows))

    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}


def test_lines_after_a_torn_one_are_read(path: Path, native: concurrent.futures.Executor) -> None:
    fill(path, native, windows=2)
    with path.open("ab") as file:
        file.write(b'{"kind": "window", "ind')
    journal = Journal.open(path, native)
    journal.add_window(window(2, device="cuda"), None, 1.0)
    journal.sync()
    journal.close()

    state = read(path)

    assert [w.device for w in state.windows] == ["cpu", "cpu", "cuda"]
    assert state.history is None


def test_speech_of_the_windows_is_kept_with_the_plan_so_that_it_is_not_sought_again(
    path: Path, native: concurrent.futures.Executor
) -> None:
    journal = Journal.open(path, native)
    journal.add_language(LANGUAGE)
    journal.add_plan(planned(0, (0, 10), (10, 20), is_complete=False, speech=(((1, 4), (6, 9)), ((11, 19),))))
    journal.add_plan(planned(1, (10, 15), (15, 20), speech=(((11, 15),), ((15, 19),))))
    journal.sync()
    journal.close()

    resumption = read(path).resumption

    assert resumption is not None and resumption.plan is not None
    assert resumption.plan.windows == ((0, 10), (10, 15), (15, 20))
    assert resumption.plan.speech == (((1, 4), (6, 9)), ((11, 15),), ((15, 19),))


def test_unfinished_plan_is_not_handed_on(path: Path, native: concurrent.futures.Executor) -> None:
    journal = Journal.open(path, native)
    journal.add_language(LANGUAGE)
    journal.add_plan(planned(0, (0, 10), is_complete=False))
    journal.add_window(window(0), None, 1.0)

    resumption = journal.state.resumption
    journal.close()

    assert resumption is not None
    assert (resumption.plan, len(resumption.finished)) == (None, 1)


def test_job_without_a_journal_begins_at_the_beginning(path: Path) -> None:
    assert read(path) == JournalState()
    assert read(path).resumption is None


def test_seconds_of_all_runs_add_up(path: Path, native: concurrent.futures.Executor) -> None:
    fill(path, native, windows=2)
    journal = Journal.open(path, native)
    journal.begin_run(ON_CPU)
    journal.add_window(window(2), None, 4.0)
    journal.close()

    assert (journal.state.runs, journal.state.engine_seconds) == (2, 1.0)
    assert (journal.state.engines, journal.state.window_runs) == ([ON_CPU, ON_CPU], [0, 0, 1])
    assert journal.state.worked_seconds == 5.0


def test_attempts_that_come_to_nothing_are_counted_until_one_comes_to_something(
    path: Path, native: concurrent.futures.Executor
) -> None:
    journal = Journal.open(path, native)
    for _ in range(3):
        journal.begin()
    assert journal.state.fruitless == 3

    journal.add_window(window(0), None, 1.0)
    assert journal.state.fruitless == 0

    journal.begin()
    journal.hand_back()
    assert journal.state.fruitless == 0
    journal.close()


def test_samples_are_trusted_whole_and_within_one_boot(
    path: Path, native: concurrent.futures.Executor
) -> None:
    state = fill(path, native)
    assert not state.has_audio("boot"), "the file is not there"

    audio(path.parent).path.write_bytes(b"12345678")
    assert state.has_audio("boot")
    assert not state.has_audio("another boot")

    audio(path.parent).path.write_bytes(b"1234567")
    assert not state.has_audio("boot")


def test_full_disk_is_told_and_what_was_written_stays(
    path: Path, native: concurrent.futures.Executor
) -> None:
    fill(path, native, windows=1)
    journal = Journal.open(path, native)
    read_only = os.open(path, os.O_RDONLY)
    os.dup2(read_only, journal._descriptor)
    os.close(read_only)

    journal.add_window(window(1), None, 1.0)
    with pytest.raises(StorageFailedError, match=os.strerror(errno.EBADF)):
        journal.sync()
    journal.close()

    assert len(read(path).windows) == 1


def test_lines_are_on_disk_without_a_sync_before_long(
    path: Path, native: concurrent.futures.Executor
) -> None:
    journal = Journal.open(path, native)
    for index in range(50):
        journal.add_window(window(index), None, float(index))
    journal.sync()

    assert len(read(path).windows) == 50
    journal.close()


def test_run_of_an_older_version_tells_its_device_only(
    path: Path, native: concurrent.futures.Executor
) -> None:
    path.write_text('{"kind": "run", "device": "cuda"}\n')

    journal = Journal.open(path, native)
    journal.close()

    [engine] = journal.state.engines
    assert (engine.claimed_device, engine.compute_type, engine.device_name) == ("cuda", "unknown", None)
