"""The pool with real child processes: stand-ins that speak the real protocol."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import standin_start
from standin_start import STANDIN, SystemClock, eventually, is_gone
from transcriber.domain.errors import EngineCrashedError, EngineStartError, JobCancelledError
from transcriber.domain.events import Finished, SegmentReady, WindowDone
from transcriber.domain.options import TranscriptionOptions
from transcriber.engine.client import ChildEngine
from transcriber.engine.pool import ChildEnginePool

PCM = Path("/spool/job.pcm")
MINUTE = 60 * 16_000

MakePool = Callable[..., ChildEnginePool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    pools: list[ChildEnginePool] = []

    def make(*options: str, max_engines: int = 3, waste_timeout: float = 10.0) -> ChildEnginePool:
        def launch(device: str, model: str) -> ChildEngine:
            return standin_start.start(*options, device=device, model=model)

        pools.append(
            ChildEnginePool(
                launch=launch, max_engines=max_engines, clock=SystemClock(), waste_timeout=waste_timeout
            )
        )
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def windows(pool: ChildEnginePool, job_id: str, device: str = "cpu", model: str = "base") -> list[str]:
    """The devices of a job's windows."""
    with pool.lend(device, model) as engine:
        events = list(engine.transcribe(job_id, PCM, MINUTE, TranscriptionOptions()))
    assert isinstance(events[-1], Finished)
    return [event.device for event in events if isinstance(event, WindowDone)]


def test_both_devices_serve_side_by_side(make_pool: MakePool) -> None:
    pool = make_pool()

    assert windows(pool, "a", "cpu") == ["cpu", "cpu"]
    assert windows(pool, "b", "cuda") == ["cuda", "cuda"]

    assert sorted(info.device for info in pool.running()) == ["cpu", "cuda"]


def test_crash_in_mid_job_then_a_fresh_engine_finishes_it(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool("--crash-at", "1", "--crash-times", "1", "--count-file", str(tmp_path / "deaths"))

    with pytest.raises(EngineCrashedError, match="SIGKILL"):
        windows(pool, "j")

    assert windows(pool, "j") == ["cpu", "cpu"]
    assert pool.restarts == 1


def test_eviction_really_ends_the_process(make_pool: MakePool) -> None:
    pool = make_pool(max_engines=1)
    windows(pool, "a", model="tiny")
    (first,) = pool.running()

    windows(pool, "b", model="base")

    assert is_gone(first.pid)
    assert [info.model for info in pool.running()] == ["base"]


def test_eight_threads_over_four_engines_with_room_for_two(make_pool: MakePool) -> None:
    pool = make_pool(max_engines=2)
    models = ["tiny", "base", "small", "medium"]

    def work(number: int) -> int:
        choose = random.Random(number)
        return sum(len(windows(pool, f"{number}-{turn}", model=choose.choice(models))) for turn in range(6))

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(work, range(8)))

    assert done == [12] * 8
    assert len(pool.running()) <= 2
    assert pool.restarts == 0


def test_engines_killed_all_the_time_never_wedge_the_pool(make_pool: MakePool) -> None:
    pool = make_pool()
    outcomes: list[str] = []

    def work(number: int) -> None:
        for turn in range(10):
            try:
                windows(pool, f"{number}-{turn}")
                outcomes.append("done")
            except EngineCrashedError:
                outcomes.append("crashed")

    with ThreadPoolExecutor(4) as threads:
        working = [threads.submit(work, number) for number in range(4)]
        killed: set[int] = set()
        while not all(each.done() for each in working):
            for info in pool.running():
                if info.pid not in killed and len(killed) < 8:
                    os.kill(info.pid, signal.SIGKILL)
                    killed.add(info.pid)
            time.sleep(0.005)
        for each in working:
            each.result()

    assert len(outcomes) == 40
    assert killed
    assert windows(pool, "last") == ["cpu", "cpu"]


def test_kept_engine_killed_while_idle_is_up_again_without_being_asked_for(make_pool: MakePool) -> None:
    pool = make_pool()
    pool.ensure("cpu", "base")
    (first,) = pool.running()
    pool.supervise(interval=0.05)

    os.kill(first.pid, signal.SIGKILL)

    assert eventually(lambda: [info.pid for info in pool.running()] not in ([], [first.pid]))
    assert pool.restarts == 1


@pytest.mark.parametrize("stubbornness", ["--compute-on-at", "--freeze-at"])
def test_engine_that_goes_on_with_a_cancelled_job_is_ended_and_started_again(
    make_pool: MakePool, stubbornness: str
) -> None:
    pool = make_pool(stubbornness, "1", waste_timeout=0.3)
    pool.ensure("cpu", "base")
    pool.supervise(interval=0.05)
    (first,) = pool.running()
    with pool.lend("cpu", "base") as engine:
        events = engine.transcribe("j", PCM, MINUTE, TranscriptionOptions())
        next(event for event in events if isinstance(event, SegmentReady))
        engine.cancel("j")
        with pytest.raises(JobCancelledError):
            list(events)

    assert eventually(lambda: [info.pid for info in pool.running()] not in ([], [first.pid]))
    assert is_gone(first.pid)


def test_engine_that_serves_somebody_else_is_not_ended_for_a_cancelled_job(make_pool: MakePool) -> None:
    pool = make_pool("--compute-on-at", "1", waste_timeout=0.2)
    pool.ensure("cpu", "base")
    pool.supervise(interval=0.05)
    with pool.lend("cpu", "base") as engine:
        doomed = engine.transcribe("doomed", PCM, MINUTE, TranscriptionOptions())
        other = engine.transcribe("other", PCM, MINUTE, TranscriptionOptions())
        for events in (doomed, other):
            next(event for event in events if isinstance(event, SegmentReady))
        engine.cancel("doomed")
        with pytest.raises(JobCancelledError):
            list(doomed)

        assert not eventually(lambda: is_gone(engine.info.pid), 1.0)


def test_named_cause_of_a_failed_start_reaches_the_borrower_and_diagnostics(make_pool: MakePool) -> None:
    pool = make_pool("--fail-start", "cublas_missing")

    with pytest.raises(EngineStartError) as caught:
        windows(pool, "j", "cuda")

    assert caught.value.code == "cublas_missing"
    error = pool.last_start_error("cuda")
    assert error is not None
    assert error.fix == "Tell it otherwise."


def test_close_ends_stubborn_children_side_by_side(make_pool: MakePool) -> None:
    pool = make_pool("--ignore-shutdown")
    for model in ("tiny", "base", "small"):
        pool.ensure("cpu", model)
    pids = [info.pid for info in pool.running()]
    began = time.monotonic()

    pool.close()

    assert all(is_gone(pid) for pid in pids)
    assert time.monotonic() - began < 5.0  # one after another would take six


def test_pool_works_under_gevent() -> None:
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import os, sys, signal, gevent; sys.path[:0] = sys.argv[1:]\n"
        "from pathlib import Path\n"
        "import standin_start\n"
        "from transcriber.domain.errors import EngineCrashedError\n"
        "from transcriber.domain.options import TranscriptionOptions\n"
        "from transcriber.engine.pool import ChildEnginePool\n"
        "launch = lambda device, model: standin_start.start(device=device, model=model)\n"
        "pool = ChildEnginePool(launch=launch, max_engines=2, clock=standin_start.SystemClock())\n"
        "def run(number):\n"
        "    with pool.lend('cpu', ['tiny', 'base', 'small'][number % 3]) as engine:\n"
        "        events = engine.transcribe(str(number), Path('x'), 960000, TranscriptionOptions())\n"
        "        return len(list(events))\n"
        "jobs = [gevent.spawn(run, number) for number in range(12)]\n"
        "gevent.joinall(jobs, timeout=30, raise_error=True)\n"
        "assert [job.value for job in jobs] == [7] * 12, [job.value for job in jobs]\n"
        "pool.ensure('cuda', 'base')\n"
        "pool.supervise(interval=0.05)\n"
        "old = [info.pid for info in pool.running() if info.device == 'cuda']\n"
        "os.kill(old[0], signal.SIGKILL)\n"
        "with gevent.Timeout(20):\n"
        "    while not [i for i in pool.running() if i.device == 'cuda' and i.pid != old[0]]:\n"
        "        gevent.sleep(0.02)\n"
        "pool.close()\n"
        "print('all well', pool.restarts)\n"
    )
    folders = [str(STANDIN.parent), str(STANDIN.parents[2] / "flask-app")]

    done = subprocess.run(
        [sys.executable, "-c", program, *folders], capture_output=True, text=True, timeout=90, check=False
    )

    assert done.stdout.splitlines()[-1:] == ["all well 1"], done.stderr
