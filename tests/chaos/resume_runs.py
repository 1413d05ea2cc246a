"""Jobs that are interrupted at random windows and go on, or fail and are retried, against untouched ones."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_audio import Audio
from chaos_client import Order, look, submit, wait_for_end
from chaos_kills import run_untouched
from chaos_server import SupervisedServer, settings
from chaos_tally import differences
from chaos_tree import Role, kill

#: What jobs are asked for, in turn.
PARAMETERS: tuple[dict[str, str], ...] = (
    {},
    {"condition_on_previous_text": "true"},
    {"word_timestamps": "true", "beam_size": "2"},
    {"vad_filter": "false", "initial_prompt": "The inaugural address."},
)

END_SECONDS = 300.0

#: A job that is over before it can be disturbed shows nothing, and another one takes its place.
TRIES = 5


@dataclass
class Equality:
    """How many jobs were disturbed, and which of them came to something else."""

    equal: int = 0
    #: Interrupted after so many finished windows.
    windows: Counter[int] = field(default_factory=Counter)
    disturbances: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run_resumptions(
    times: int,
    audio: Audio,
    models: Path,
    folder: Path,
    *,
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> Equality:
    """Disturb so many jobs, one after the other: engine or worker killed, the whole service, or failed and retried."""
    rng = random.Random(seed)
    # Small batches: a job of a few minutes has several of them, so that there is something to resume.
    env = settings(models, WHISPER_BATCH_SIZE="2")
    untouched = [
        run_untouched(folder / f"untouched-{n}", env, [audio], **parameters)[audio.name]
        for n, parameters in enumerate(PARAMETERS[: min(times, len(PARAMETERS))])
    ]
    result = Equality()
    with SupervisedServer(folder / "disturbed", env) as server:
        server.wait_ready()
        for number in range(times):
            which = number % len(PARAMETERS)
            disturb = _DISTURBANCES[(number // len(PARAMETERS) + number) % len(_DISTURBANCES)]
            begun = time.monotonic()
            for again in range(TRIES):
                order = Order(f"resume-{seed}-{number}-{again}", audio, PARAMETERS[which])
                if _check(server, order, disturb, untouched[which], rng, result):
                    break
            else:
                result.faults.append(f"{order.key} was over before it was disturbed, {TRIES} times")
            say(
                f"{order.key} {disturb.__name__.strip('_')}: {time.monotonic() - begun:.0f} s, {result.equal} equal"
            )
    return result


Disturbance = Callable[[SupervisedServer, str, random.Random], None]


def _check(
    server: SupervisedServer,
    order: Order,
    disturb: Disturbance,
    untouched: Mapping[str, Any],
    rng: random.Random,
    result: Equality,
) -> bool:
    """Judge one job; False for one that nobody disturbed."""
    submit(server, order)
    job_id = str(order.job_id)
    try:
        done = _wait_for_window(server, job_id, rng.randint(1, 4))
        disturb(server, job_id, rng)
        job = wait_for_end(server, job_id, timeout=END_SECONDS)
    except TimeoutError as error:
        result.faults.append(f"{order.key}: {str(error)[:1000]}")
        return True
    if job["status"] == "succeeded" and job["attempts"] + job["receipt"]["attempts"] <= 2:
        return False
    result.windows[done] += 1
    result.disturbances[disturb.__name__.strip("_")] += 1
    if job["status"] != "succeeded":
        result.faults.append(f"{order.key} {job_id} is {job['status']}: {job.get('error')}")
    elif other := differences(job, untouched):
        result.faults.append(f"{order.key} ({disturb.__name__}, {dict(order.fields)}): {'; '.join(other)}")
    else:
        result.equal += 1
    return True


def _kill_engine(server: SupervisedServer, job_id: str, rng: random.Random) -> None:
    for pid in server.pids(Role.ENGINE):
        kill(server.pid, pid)


def _kill_worker(server: SupervisedServer, job_id: str, rng: random.Random) -> None:
    for pid in server.pids(Role.WORKER):
        kill(server.pid, pid)


def _kill_service(server: SupervisedServer, job_id: str, rng: random.Random) -> None:
    kill(server.pid, server.pid)


def _fail_and_retry(server: SupervisedServer, job_id: str, rng: random.Random) -> None:
    """Engines that die of themselves twice in a job end it; then it is retried."""
    deadline = time.monotonic() + END_SECONDS
    seen: set[int] = set()
    while (job := look(server, job_id)) is None or job["status"] in ("queued", "running"):
        # Each engine once, and only when the job is in it.
        if job is not None and job["status"] == "running" and _is_hearing(server, job_id):
            fresh = [pid for pid in server.pids(Role.ENGINE) if pid not in seen]
            seen.update(pid for pid in fresh if kill(server.pid, pid, signal.SIGSEGV))
        if time.monotonic() > deadline:
            raise TimeoutError(f"{job_id} did not fail")
        time.sleep(0.02)
    if job["status"] == "failed":
        server.request("POST", f"/jobs/{job_id}/retry", headers={"Accept": "application/json"})


_DISTURBANCES: tuple[Disturbance, ...] = (_kill_engine, _kill_worker, _fail_and_retry, _kill_service)


def _is_hearing(server: SupervisedServer, job_id: str) -> bool:
    job = look(server, job_id)
    return bool(job and job["progress"] and job["progress"]["stage"] == "transcribing")


def _wait_for_window(server: SupervisedServer, job_id: str, windows: int) -> int:
    """How many windows are done, once there are so many."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        job = look(server, job_id)
        if job is not None:
            done = job["progress"]["windows_done"] if job["progress"] else 0
            if done >= windows or job["status"] not in ("queued", "running"):
                return int(done)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{job_id} has not come to window {windows}")
        time.sleep(0.01)
