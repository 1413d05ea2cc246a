from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import standin_start
from standin_start import COMMAND, STANDIN, SystemClock, eventually, is_gone
from transcriber.domain.errors import (
    EngineCrashedError,
    EngineFailedError,
    EngineStartError,
    JobCancelledError,
)
from transcriber.domain.events import (
    Finished,
    LanguageDetected,
    Planned,
    SegmentReady,
    WindowDone,
)
from transcriber.domain.options import TranscriptionOptions
from transcriber.domain.transcript import Word
from transcriber.engine.client import OWN_COMMAND, ChildEngine

PCM = Path("/spool/job.pcm")
OPTIONS = TranscriptionOptions()
MINUTE = 60 * 16_000
HOUR = 60 * MINUTE

Start = Callable[..., ChildEngine]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[ChildEngine] = []

    def remember(*options: str, **named: object) -> ChildEngine:
        engine = standin_start.start(*options, **named)  # type: ignore[arg-type]
        started.append(engine)
        return engine

    yield remember
    for engine in started:
        engine.close(grace=0)


def test_ready_child_describes_itself(start: Start) -> None:
    engine = start(device="cuda")

    assert (engine.info.device, engine.info.device_name) == ("cuda", "Stand-in GPU")
    assert engine.info.compute_type == "float16"
    assert engine.info.supported_compute_types == ("float16",)
    assert engine.info.started_at.tzinfo is not None
    assert not is_gone(engine.info.pid)
    assert engine.alive
    assert engine.busy == 0


def test_job_yields_its_events_in_order(start: Start) -> None:
    engine = start("--windows-on", "cuda,cpu")

    events = list(engine.transcribe("j", PCM, MINUTE, TranscriptionOptions(word_timestamps=True)))

    kinds = [type(event) for event in events]
    assert kinds == [LanguageDetected, Planned, *[WindowDone, SegmentReady] * 2, Finished]
    assert events[1] == Planned(
        first_index=0,
        windows=((0, MINUTE // 2), (MINUTE // 2, MINUTE)),
        speech=(((0, MINUTE // 2),), ((MINUTE // 2, MINUTE),)),
        faint=(False, False),
        channels=(None, None),
        is_complete=True,
        duration_after_vad=60.0,
        vad_seconds=0.01,
    )
    assert [event.device for event in events if isinstance(event, WindowDone)] == ["cuda", "cpu"]
    segment = next(event.segment for event in events if isinstance(event, SegmentReady))
    assert segment.text == " window 0"
    assert segment.tokens == (50364, 0)
    assert segment.words == (Word(start=0.0, end=30.0, word=" window 0", probability=0.9),)
    assert engine.busy == 0


def test_options_reach_the_child(start: Start) -> None:
    engine = start()

    events = list(engine.transcribe("j", PCM, MINUTE, TranscriptionOptions(language="de")))

    assert events[0] == LanguageDetected(language="de", language_probability=0.9)
    assert all(event.segment.words is None for event in events if isinstance(event, SegmentReady))


def test_windows_contradict_the_claim_when_the_child_lies(start: Start) -> None:
    engine = start("--claim", "cuda", "--windows-on", "cpu")

    events = list(engine.transcribe("j", PCM, MINUTE, OPTIONS))

    assert engine.info.device == "cuda"
    assert {event.device for event in events if isinstance(event, WindowDone)} == {"cpu"}


def test_child_killed_in_mid_job_is_a_crash_that_names_the_signal(start: Start) -> None:
    engine = start("--hang-at", "2")
    events = engine.transcribe("j", PCM, HOUR, OPTIONS)
    [next(events) for _ in range(6)]

    os.kill(engine.info.pid, signal.SIGKILL)

    with pytest.raises(EngineCrashedError, match="killed by SIGKILL.*stand-in engine for cpu") as caught:
        list(events)
    assert not caught.value.is_fault
    assert not engine.alive
    assert engine.busy == 0


def test_crash_tells_exit_code_and_last_words(start: Start) -> None:
    engine = start("--crash-at", "1", "--crash-with", "134")

    with pytest.raises(
        EngineCrashedError, match=r"(?s)exit code 134.*crashing before window 1 as told"
    ) as caught:
        list(engine.transcribe("j", PCM, HOUR, OPTIONS))
    assert caught.value.is_fault


@pytest.mark.parametrize(
    ("death", "is_fault"),
    [
        ("SEGV", True),
        ("ABRT", True),
        ("BUS", True),
        ("ILL", True),
        ("FPE", True),
        ("KILL", False),
        ("TERM", False),
    ],
)
def test_crash_tells_whether_the_child_brought_it_upon_itself(
    start: Start, death: str, is_fault: bool
) -> None:
    engine = start("--crash-at", "0", "--crash-with", death)

    with pytest.raises(EngineCrashedError) as caught:
        list(engine.transcribe("j", PCM, MINUTE, OPTIONS))

    assert caught.value.is_fault is is_fault


def test_crash_ends_every_job_in_the_child(start: Start) -> None:
    engine = start("--hang-at", "0")
    jobs = [engine.transcribe(f"j{number}", PCM, MINUTE, OPTIONS) for number in range(4)]
    for job in jobs:
        next(job)

    os.kill(engine.info.pid, signal.SIGKILL)

    for job in jobs:
        with pytest.raises(EngineCrashedError):
            list(job)


def test_dead_child_refuses_jobs(start: Start) -> None:
    engine = start()
    os.kill(engine.info.pid, signal.SIGKILL)
    assert eventually(lambda: not engine.alive)

    with pytest.raises(EngineCrashedError):
        list(engine.transcribe("j", PCM, MINUTE, OPTIONS))


def test_broken_frame_ends_the_child(start: Start) -> None:
    engine = start("--garbage-at", "1")

    with pytest.raises(EngineCrashedError, match="it sent no message") as caught:
        list(engine.transcribe("j", PCM, HOUR, OPTIONS))
    assert caught.value.is_fault
    assert is_gone(engine.info.pid)


def test_error_of_the_child_keeps_its_code_and_the_child_lives_on(start: Start) -> None:
    engine = start("--error-at", "1")

    with pytest.raises(EngineFailedError, match="Told to fail") as caught:
        list(engine.transcribe("j", PCM, HOUR, OPTIONS))

    assert (caught.value.code, caught.value.fix) == ("out_of_gpu_memory", "Tell it otherwise.")
    assert engine.alive
    assert isinstance(list(engine.transcribe("short", PCM, 16_000, OPTIONS))[-1], Finished)


def test_start_failure_keeps_the_cause_the_child_named() -> None:
    with pytest.raises(EngineStartError, match="Told to fail") as caught:
        standin_start.start("--fail-start", "cuda_driver_too_old")

    assert (caught.value.code, caught.value.fix) == ("cuda_driver_too_old", "Tell it otherwise.")


def test_crash_at_start_tells_the_last_words() -> None:
    with pytest.raises(EngineStartError, match=r"(?s)SIGABRT.*crashing at start as told") as caught:
        standin_start.start("--crash-at-start", "--crash-with", "ABRT")

    assert caught.value.code == "engine_start_crashed"


def test_hang_at_start_times_out_and_leaves_no_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    wrapper = ("/bin/sh", "-c", f'echo $$ > {pid_file}; exec "$@"', "sh", *COMMAND, "--hang-at-start")

    with pytest.raises(EngineStartError, match=r"not ready after 1 s.*stand-in engine") as caught:
        ChildEngine.start(
            standin_start.config(),
            {"PATH": os.environ["PATH"]},
            clock=SystemClock(),
            start_timeout=1.0,
            command=wrapper,
        )

    assert caught.value.code == "engine_start_timeout"
    assert is_gone(int(pid_file.read_text()))


@pytest.mark.parametrize("lie", [("--claim", "cpu"), ("--warmup-on", "cpu")])
def test_child_that_was_to_take_the_gpu_and_did_not_is_refused(lie: tuple[str, str]) -> None:
    with pytest.raises(EngineStartError, match="was to run on cuda") as caught:
        standin_start.start(*lie, device="cuda")

    assert caught.value.code == "engine_device_mismatch"


def test_missing_program_is_a_start_error() -> None:
    with pytest.raises(EngineStartError) as caught:
        ChildEngine.start(
            standin_start.config(),
            {},
            clock=SystemClock(),
            start_timeout=1.0,
            command=("/nonexistent/engine",),
        )

    assert caught.value.code == "engine_start_crashed"


def test_own_command_is_the_package_s_child() -> None:
    assert OWN_COMMAND == (sys.executable, "-m", "transcriber.engine.child.main")


def test_cancel_ends_the_job_and_not_the_child(start: Start) -> None:
    engine = start("--hang-at", "1")
    events = engine.transcribe("j", PCM, HOUR, OPTIONS)
    next(events)

    engine.cancel("j")

    with pytest.raises(JobCancelledError):
        list(events)
    assert engine.alive
    assert isinstance(list(engine.transcribe("short", PCM, 16_000, OPTIONS))[-1], Finished)


def test_cancel_is_told_at_once_though_the_child_computes_on(start: Start) -> None:
    engine = start("--compute-on-at", "1")
    events = engine.transcribe("j", PCM, HOUR, OPTIONS)
    next(event for event in events if isinstance(event, SegmentReady))
    assert engine.wasted_seconds == 0.0

    engine.cancel("j")
    with pytest.raises(JobCancelledError):
        list(events)

    assert engine.busy == 0
    assert eventually(lambda: engine.wasted_seconds > 0.05)
    other = engine.transcribe("other", PCM, HOUR, OPTIONS)
    next(other)
    assert engine.wasted_seconds == 0.0


def test_cancel_is_told_at_once_though_the_child_is_deaf(start: Start) -> None:
    engine = start("--freeze-at", "1")
    events = engine.transcribe("j", PCM, HOUR, OPTIONS)
    next(event for event in events if isinstance(event, SegmentReady))
    began = time.monotonic()

    engine.cancel("j")
    with pytest.raises(JobCancelledError):
        list(events)

    assert time.monotonic() - began < 1.0
    assert eventually(lambda: engine.wasted_seconds > 0.05)


def test_finished_job_leaves_nothing_to_waste(start: Start) -> None:
    engine = start()

    list(engine.transcribe("j", PCM, MINUTE, OPTIONS))

    assert eventually(lambda: not engine._jobs.is_computing)
    assert engine.wasted_seconds == 0.0


def test_cancel_of_an_unknown_job_is_nothing(start: Start) -> None:
    engine = start()

    engine.cancel("never heard of")

    assert isinstance(list(engine.transcribe("j", PCM, MINUTE, OPTIONS))[-1], Finished)


def test_closing_the_iterator_early_cancels_in_the_child_and_the_id_can_come_again(start: Start) -> None:
    engine = start("--hang-at", "1")
    with closing(engine.transcribe("j", PCM, HOUR, OPTIONS)) as events:  # type: ignore[type-var]
        next(events)
    assert engine.busy == 0

    again = list(engine.transcribe("j", PCM, 16_000, OPTIONS))

    assert isinstance(again[-1], Finished)
    assert eventually(lambda: engine.wasted_seconds == 0.0)


def test_slow_consumer_does_not_hold_up_another_job(start: Start) -> None:
    engine = start()
    slow = engine.transcribe("slow", PCM, 200 * HOUR, OPTIONS)
    next(slow)

    fast = list(engine.transcribe("fast", PCM, MINUTE, OPTIONS))

    assert isinstance(fast[-1], Finished)
    assert len(list(slow)) == 2 * 120 * 200 + 1 + 120 * 200 // 16


def test_eight_jobs_at_once_get_their_own_events(start: Start) -> None:
    engine = start()

    def run(number: int) -> int:
        events = list(engine.transcribe(f"j{number}", PCM, number * MINUTE, OPTIONS))
        return sum(isinstance(event, WindowDone) for event in events)

    with ThreadPoolExecutor(8) as threads:
        windows = list(threads.map(run, range(1, 9)))

    assert windows == [2 * number for number in range(1, 9)]


def test_silent_child_with_work_is_ended_after_the_stall_timeout(start: Start) -> None:
    engine = start("--freeze-at", "1", stall_timeout=0.5)

    with pytest.raises(EngineCrashedError, match="SIGKILL.*silent for"):
        list(engine.transcribe("j", PCM, HOUR, OPTIONS))


@pytest.mark.parametrize("others", [0, 1])
def test_child_that_hangs_is_held_against_a_job_that_is_alone_in_it(start: Start, others: int) -> None:
    engine = start("--freeze-at", "1", stall_timeout=0.5)
    beside = [engine.transcribe("other", PCM, HOUR, OPTIONS) for _ in range(others)]
    for events in beside:
        next(events)

    with pytest.raises(EngineCrashedError, match="silent for") as caught:
        list(engine.transcribe("j", PCM, HOUR, OPTIONS))

    assert (caught.value.code, caught.value.is_ours) == ("engine_stalled", False)
    assert caught.value.is_fault is (others == 0)


def test_child_that_died_of_itself_is_not_excused_by_being_closed_after(start: Start) -> None:
    engine = start("--crash-at", "1", "--crash-with", "SEGV")
    events = engine.transcribe("j", PCM, HOUR, OPTIONS)
    next(events)
    assert eventually(lambda: not engine.alive)

    engine.close(grace=0)

    with pytest.raises(EngineCrashedError) as caught:
        list(events)
    assert (caught.value.is_fault, caught.value.is_ours) == (True, False)


def test_close_asks_first(start: Start) -> None:
    engine = start()

    engine.close(grace=10.0)

    assert not engine.alive
    assert "exit code 0" in str(engine._obituary)


def test_close_kills_a_child_that_will_not_end(start: Start) -> None:
    engine = start("--ignore-shutdown")

    engine.close(grace=0.2)

    assert is_gone(engine.info.pid)
    assert "SIGKILL" in str(engine._obituary)


def test_close_ends_its_jobs_as_crashed(start: Start) -> None:
    engine = start("--hang-at", "0")
    events = engine.transcribe("j", PCM, MINUTE, OPTIONS)
    next(events)

    engine.close(grace=0.1)

    with pytest.raises(EngineCrashedError, match="ended by the service") as caught:
        list(events)
    assert (caught.value.is_fault, caught.value.is_ours) == (False, True)


def test_close_twice_is_nothing_new_and_leaves_no_threads(start: Start) -> None:
    engine = start()

    engine.close()
    engine.close()

    name = f"engine-{engine._process.pid}-"
    assert eventually(lambda: not [each for each in threading.enumerate() if each.name.startswith(name)])


def test_terminal_interrupt_does_not_reach_the_child(start: Start) -> None:
    engine = start()

    assert os.getsid(engine.info.pid) == engine.info.pid


def test_child_inherits_only_its_own_socket(start: Start) -> None:
    other = start()
    left, right = socket.socketpair()

    with left, right:
        engine = start()

    sockets = [
        link
        for entry in Path("/proc", str(engine.info.pid), "fd").iterdir()
        if (link := os.readlink(entry)).startswith("socket:")
    ]
    assert len(sockets) == 1
    assert other.alive


def test_child_ends_when_its_parent_is_killed() -> None:
    program = (
        "import sys, signal; sys.path[:0] = sys.argv[1:]\n"
        "import standin_start\n"
        "engine = standin_start.start('--hang-at', '0')\n"
        "print(engine.info.pid, flush=True)\n"
        "signal.pause()\n"
    )
    folders = [str(STANDIN.parent), str(STANDIN.parents[2] / "flask-app")]
    parent = subprocess.Popen([sys.executable, "-c", program, *folders], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, b"")
        child = next(int(line) for line in lines if line.strip().isdigit())
        assert not is_gone(child)

        parent.kill()

    assert eventually(lambda: is_gone(child))


def test_works_under_gevent() -> None:
    """A greenlet serves a slow job while another job runs and a child is killed."""
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import os, sys, signal, gevent; sys.path[:0] = sys.argv[1:]\n"
        "from pathlib import Path\n"
        "import standin_start\n"
        "from transcriber.domain.errors import EngineCrashedError\n"
        "from transcriber.domain.options import TranscriptionOptions\n"
        "engine = standin_start.start()\n"
        "run = lambda name: len(list(engine.transcribe(name, Path('x'), 600 * 16000, TranscriptionOptions())))\n"
        "jobs = [gevent.spawn(run, f'j{n}') for n in range(8)]\n"
        "gevent.joinall(jobs, raise_error=True)\n"
        "assert [job.value for job in jobs] == [44] * 8, [job.value for job in jobs]\n"
        "doomed = standin_start.start('--hang-at', '1')\n"
        "ticks = []\n"
        "def tick():\n"
        "    while True:\n"
        "        ticks.append(1); gevent.sleep(0.01)\n"
        "gevent.spawn(tick)\n"
        "gevent.spawn_later(0.3, os.kill, doomed.info.pid, signal.SIGKILL)\n"
        "try:\n"
        "    list(doomed.transcribe('j', Path('x'), 600 * 16000, TranscriptionOptions()))\n"
        "    raise SystemExit('no crash')\n"
        "except EngineCrashedError as error:\n"
        "    assert 'SIGKILL' in str(error), error\n"
        "assert len(ticks) > 5, len(ticks)\n"
        "try:\n"
        "    standin_start.start('--hang-at-start', start_timeout=0.5)\n"
        "except Exception as error:\n"
        "    assert error.code == 'engine_start_timeout', error\n"
        "engine.close()\n"
        "assert not engine.alive\n"
        "print('all well')\n"
    )
    folders = [str(STANDIN.parent), str(STANDIN.parents[2] / "flask-app")]

    done = subprocess.run(
        [sys.executable, "-c", program, *folders], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.splitlines()[-1:] == ["all well"], done.stderr
    assert done.returncode == 0


def test_live_child_tests_itself_and_its_proof_is_renewed(start: Start) -> None:
    engine = start(device="cuda")
    before = engine.info.proven_at

    report = engine.selftest(10)

    assert report.passed and report.device == "cuda"
    assert before is not None and engine.info.proven_at is not None
    assert engine.info.proven_at > before
    assert engine.info.selftest == report


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("nan", "numbers_not_finite"),
        ("differ", "numbers_differ"),
        ("words", "words_differ"),
        ("cpu", "engine_device_mismatch"),
    ],
)
def test_child_that_fails_its_first_test_does_not_become_ready(start: Start, word: str, code: str) -> None:
    with pytest.raises(EngineStartError) as caught:
        start("--selftest", word, device="cuda")

    assert (caught.value.code, bool(caught.value.fix)) == (code, True)


def test_refusal_carries_what_the_test_found(start: Start) -> None:
    with pytest.raises(EngineStartError) as caught:
        start("--selftest", "differ", device="cuda")

    assert caught.value.selftest is not None
    assert [step.outcome for step in caught.value.selftest.steps] == [
        "passed",
        "passed",
        "failed",
        "skipped",
    ]


@pytest.mark.parametrize(("word", "code"), [("nan", "numbers_not_finite"), ("cpu", "engine_device_mismatch")])
def test_child_that_drifts_is_found_out_and_keeps_its_old_proof(
    start: Start, tmp_path: Path, word: str, code: str
) -> None:
    engine = start("--selftest-file", str(tmp_path / "word"), device="cuda")
    before = engine.info.proven_at
    (tmp_path / "word").write_text(word)

    report = engine.selftest(10)

    assert report.failure is not None and report.failure.code == code
    assert engine.info.proven_at == before


def test_child_that_is_silent_in_its_test_is_named(start: Start, tmp_path: Path) -> None:
    engine = start("--selftest-file", str(tmp_path / "word"))
    (tmp_path / "word").write_text("hang")

    with pytest.raises(EngineFailedError) as caught:
        engine.selftest(0.2)

    assert caught.value.code == "selftest_timeout"


def test_child_that_dies_in_its_test_is_a_crash(start: Start, tmp_path: Path) -> None:
    engine = start("--selftest-file", str(tmp_path / "word"))
    (tmp_path / "word").write_text("die")

    with pytest.raises(EngineCrashedError):
        engine.selftest(10)
    with pytest.raises(EngineCrashedError):
        engine.selftest(10)


def test_test_that_hangs_beside_a_busy_lane_is_named_and_no_job_is_blamed(
    start: Start, tmp_path: Path
) -> None:
    engine = start("--selftest-file", str(tmp_path / "word"), "--hang-at", "1", stall_timeout=0.8)
    (tmp_path / "word").write_text("hang")
    ended: list[Exception] = []
    is_at_work = threading.Event()

    def work() -> None:
        try:
            for event in engine.transcribe("j", PCM, 2 * MINUTE, OPTIONS):
                if isinstance(event, WindowDone):
                    # From here on the child has a batch in work, and says nothing.
                    is_at_work.set()
        except EngineCrashedError as error:
            ended.append(error)

    job = threading.Thread(target=work)
    with pytest.raises(EngineFailedError) as caught:
        job.start()
        assert is_at_work.wait(20)
        engine.selftest(2)
    engine.close(0)
    job.join(20)

    assert caught.value.code == "selftest_timeout"
    assert [(type(error), getattr(error, "is_fault", None)) for error in ended] == [
        (EngineCrashedError, False)
    ]
