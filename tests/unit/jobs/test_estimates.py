"""Estimates against a simulated machine: within 2 × of what it turns out for at least 8 of 10 jobs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fake_ports import NOW, FakeClock
from service_bench import REQUEST
from transcriber.domain.errors import QueueFullError
from transcriber.domain.events import Finished, Planned, WindowDone
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.ports import SAMPLE_RATE, DecodedAudio
from transcriber.jobs.active_job import Progress
from transcriber.jobs.estimates import Estimates
from transcriber.jobs.events import JobEvents
from transcriber.jobs.files.journal import JournalState
from transcriber.jobs.limits import JobLimits
from transcriber.jobs.queue import JobQueue, Slots, WaitingJob
from transcriber.jobs.speeds import OVERHEAD_SECONDS, Speeds

WINDOW_SECONDS = 30.0


@dataclass
class Simulated:
    """A job on the simulated machine: its true cost, and what was foretold of it."""

    job: Job
    duration: float
    work_left: float
    progress: Progress
    state: JournalState
    windows: int
    told: int = 0
    asked_at: float = 0.0
    estimate: float | None = None
    started_at: float | None = None
    left: list[tuple[float, float]] = field(default_factory=list)


class Machine:
    """Runs jobs in shares of one speed, which no estimate knows, with files that cost more or less than most."""

    def __init__(self, seed: int, *, speed: float, slots: int, known: dict[str, float] | None = None) -> None:
        self.rng = random.Random(seed)
        self.speed = speed
        self.clock = FakeClock()
        self.speeds = Speeds(self.clock, known)
        limits = JobLimits(slots=Slots(long=slots, short=2, max_queue=1000), short_seconds=60.0)
        self.slots = slots
        self.runner = JobQueue(look=lambda _: None, run=lambda _: None, slots=limits.slots, clock=self.clock)
        self.at_work: list[Simulated] = []
        self.line: list[Simulated] = []
        self.ended: list[Simulated] = []
        self.estimates = Estimates(
            runner=self.runner,
            at_work=lambda: [each.progress for each in self.at_work],
            device_of=lambda request: "cpu",
            engines=lambda: (),
            speeds=self.speeds,
            limits=limits,
        )

    def submit(self, number: int, duration: float) -> None:
        # What an mp3 of unknown bit rate weighs.
        size = int(duration * 16_000 * self.rng.uniform(0.6, 1.5))
        job = Job(
            id=f"job_{number:024}",
            status=JobStatus.QUEUED,
            request=REQUEST,
            file_name="x",
            size_bytes=size,
            created_at=NOW,
            number=number,
        )
        progress = Progress(
            job,
            JobEvents(),
            self.speeds,
            self.clock,
            sharing=lambda: len(self.at_work),
            decoded=lambda audio: "long",
        )
        count = max(1, round(duration / WINDOW_SECONDS))
        bounds = [int(duration * SAMPLE_RATE * i / count) for i in range(count + 1)]
        plan = Planned(
            first_index=0,
            windows=tuple(zip(bounds, bounds[1:], strict=False)),
            is_complete=True,
            duration_after_vad=duration,
            vad_seconds=0,
        )
        cost = (duration + OVERHEAD_SECONDS) * self.rng.uniform(0.7, 1.4)
        simulated = Simulated(job, duration, cost, progress, JournalState(plan=plan), count)
        simulated.asked_at = self.clock.seconds
        self.estimates.expect(job, b"ID3")
        self.runner.put(WaitingJob(job_id=job.id, number=number))
        place = self.estimates.place(job.id)
        assert place is not None
        simulated.estimate = place.seconds
        self.line.append(simulated)
        self.fill()

    def fill(self) -> None:
        while self.line and len(self.at_work) < self.slots:
            job = self.line.pop(0)
            assert self.runner.withdraw(job.job.id)
            job.started_at = self.clock.seconds
            job.progress.decoded(audio_of(job.duration))
            job.progress.began("cpu", job.state)
            self.at_work.append(job)

    def step(self, seconds: float) -> None:
        self.clock.seconds += seconds
        done = seconds * self.speed / max(1, len(self.at_work))
        for job in list(self.at_work):
            job.work_left -= done
            self.tell(job)
        self.fill()

    def tell(self, job: Simulated) -> None:
        """The engine's events up to now."""
        total = job.work_left <= 0
        share = 1.0 if total else 1 - job.work_left / (job.duration + OVERHEAD_SECONDS)
        while job.told < min(job.windows, int(max(0.0, share) * job.windows)):
            job.progress.heard(WindowDone(index=job.told, device="cpu"), job.state)
            job.told += 1
            left = job.progress.now().seconds_left
            if left is not None:
                job.left.append((self.clock.seconds, left))
        if total:
            job.progress.heard(
                Finished(
                    vad_seconds=0,
                    language_detection_seconds=0,
                    transcription_seconds=0,
                    pool_peak_bytes=None,
                    notices=(),
                ),
                job.state,
            )
            self.at_work.remove(job)
            self.ended.append(job)


def audio_of(duration: float) -> DecodedAudio:
    return DecodedAudio(
        path=Path("pcm"),
        samples=int(duration * SAMPLE_RATE),
        container="mp3",
        codec="mp3",
        channels=1,
        sample_rate=16_000,
        audio_streams=1,
        stream_index=0,
    )


def run(machine: Machine, jobs: int) -> list[Simulated]:
    """Jobs of two minutes to two hours, some at once and some later, until all have ended."""
    for number in range(1, jobs + 1):
        machine.submit(number, machine.rng.choice([120.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0]))
        if number > jobs // 2:
            for _ in range(machine.rng.randrange(20)):
                machine.step(1.0)
    while machine.at_work or machine.line:
        machine.step(1.0)
    return machine.ended


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slots", [1, 4])
def test_wait_is_within_twice_what_it_turns_out_for_eight_of_ten(seed: int, slots: int) -> None:
    machine = Machine(seed, speed=20.0, slots=slots, known={"cpu base": 18.0})

    waits = [
        (job.estimate, job.started_at - job.asked_at)
        for job in run(machine, 40)
        if job.estimate is not None and job.started_at is not None
    ]

    good = [estimate / 2 <= wait <= estimate * 2 or abs(estimate - wait) < 2 for estimate, wait in waits]
    assert len(waits) == 40
    assert sum(good) >= 0.8 * len(good)


@pytest.mark.parametrize("seed", range(3))
def test_time_left_is_within_twice_what_it_turns_out(seed: int) -> None:
    machine = Machine(seed, speed=20.0, slots=1)

    run(machine, 8)

    said = [
        (left, ended.left[-1][0] - at)
        for ended in machine.ended
        for at, left in ended.left
        if at > (ended.started_at or 0) and ended.left[-1][0] - at > 5
    ]
    good = [real / 2 <= left <= real * 2 for left, real in said]
    assert len(good) > 50
    assert sum(good) >= 0.8 * len(good)


def test_speed_of_this_machine_is_learnt() -> None:
    machine = Machine(1, speed=20.0, slots=2)

    run(machine, 12)

    assert 14.0 < machine.speeds.rate("cpu", "base") < 28.0


def test_short_jobs_have_a_line_of_their_own() -> None:
    machine = Machine(1, speed=20.0, slots=1)
    for number in range(1, 4):
        machine.submit(number, 3600.0)
    machine.submit(4, 20.0)

    short = machine.estimates.place(machine.line[-1].job.id)
    long = machine.estimates.place(machine.line[-2].job.id)

    assert short is not None and long is not None
    assert (short.position, short.seconds) == (1, 0.0)
    assert long.position == 2
    assert long.seconds is not None and long.seconds > 100


def test_refusal_says_when_a_place_is_free() -> None:
    machine = Machine(1, speed=20.0, slots=1)
    machine.submit(1, 600.0)

    error = machine.estimates.refine(QueueFullError())

    assert 20 < error.retry_after < 200
