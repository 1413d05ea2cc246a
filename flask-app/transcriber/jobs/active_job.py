"""A job at work: how anyone stops it, and why; how far it is, for pages, followers and estimates."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..domain.errors import JobCancelledError
from ..domain.events import EngineEvent, Finished, LanguageDetected, SegmentReady, WindowDone
from ..domain.jobs import Job, JobProgress, JobStatus, QueuePlace
from ..domain.ports import SAMPLE_RATE, Clock, DecodedAudio
from .events import JobEvents
from .files.journal import JournalState
from .speeds import Mark, Speeds, work_of


class StopReason(enum.StrEnum):
    """Why a job at work is to stop."""

    CANCELLED = "cancelled"  #: somebody gave it up
    TIMED_OUT = "timed_out"  #: it took longer than is allowed
    HANDED_BACK = "handed_back"  #: the service stops; the job goes on later
    LOST = "lost"  #: the attempt does not count any more: the job was ended, or is worked on, elsewhere


class CancellationToken:
    """Pulled at most once: the first reason counts. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulled = threading.Event()
        self._stops: list[Callable[[], None]] = []
        self.reason: StopReason | None = None

    @property
    def is_pulled(self) -> bool:
        return self._pulled.is_set()

    def pull(self, reason: StopReason) -> None:
        """Stop the job: the work on it is stopped by the caller's thread."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            stops = list(self._stops)
        self._pulled.set()
        for stop in stops:
            stop()

    def wait(self, seconds: float) -> None:
        """Let this much time pass. Raises JobCancelledError as soon as the job is cancelled."""
        if self._pulled.wait(seconds):
            raise JobCancelledError()

    def check(self) -> None:
        """Raises JobCancelledError when the job is cancelled."""
        if self.is_pulled:
            raise JobCancelledError()

    @contextmanager
    def tied(self, stop: Callable[[], None]) -> Iterator[None]:
        """While inside, cancelling calls `stop`. Raises JobCancelledError if the job is cancelled already."""
        with self._lock:
            self._stops.append(stop)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)


#: From this share of a job on, its own speed says more than that of others.
_TELLING_SHARE = 0.1

FETCHING, DECODING, TRANSCRIBING = "fetching", "decoding", "transcribing"


class Progress:
    """The Watcher of one attempt. `sharing`: how many jobs share the machine now."""

    def __init__(
        self,
        job: Job,
        feed: JobEvents,
        speeds: Speeds,
        clock: Clock,
        *,
        sharing: Callable[[], int],
        decoded: Callable[[DecodedAudio], str],
    ) -> None:
        self.job = job
        self.lane = "long"
        self.begun = clock.monotonic()
        self._feed = feed
        self._speeds = speeds
        self._clock = clock
        self._sharing = sharing
        self._decoded = decoded
        self._stage = DECODING
        self._samples = 0
        self._reached = 0
        self._windows_done = 0
        self._language: str | None = None
        self._device: str | None = None
        self._mark: Mark | None = None
        self._reached_before = 0

    def decoded(self, audio: DecodedAudio) -> str:
        """The audio is there; answers with the engine's lane for it."""
        self._samples = audio.samples
        self.lane = self._decoded(audio)
        self.publish()
        return self.lane

    def began(self, device: str, state: JournalState) -> None:
        """An engine takes the job where the journal says."""
        self._stage = TRANSCRIBING
        self._windows_done = len(state.windows)
        self._language = state.language.language if state.language else None
        # What ran before this engine says nothing about where it goes on.
        self._device = None
        self._reached = self._reached_before = state.finished_samples()
        self._mark = self._speeds.begin(device, self.job.request.model)
        self.publish()

    def heard(self, event: EngineEvent, state: JournalState) -> None:
        """The engine said something, and it is in the journal."""
        match event:
            case LanguageDetected():
                self._language = event.language
                self.publish()
            case WindowDone():
                self._windows_done = event.index + 1
                self._device = event.device.partition(":")[0]
                if state.plan is not None and event.index < len(state.plan.windows):
                    self._reach(state.plan.windows[event.index][1])
                self.publish()
            case SegmentReady():
                self._feed.add_segment(event.segment)
            case Finished():
                self._reach(self._samples)
                if self._mark is not None:
                    self._speeds.advance(self._mark, work_of(0.0))
                    self._speeds.end(self._mark)

    def now(self) -> JobProgress:
        """The job's progress now."""
        percent = 100.0 * self._share
        return JobProgress(
            percent=round(min(percent, 99.9), 1),
            stage=self._stage,
            seconds_left=self._seconds_left(),
            windows_done=self._windows_done,
            segments=len(self._feed.segments),
            language=self._language,
            device=self._device,
        )

    def alone_seconds(self) -> float | None:
        """What is left to do, in seconds of this machine without other jobs; None while that is not known."""
        if self._mark is None or not self._samples:
            return None
        left = work_of(self._samples / SAMPLE_RATE) * (1 - self._share)
        return left / self._speeds.rate(self._mark.device, self._mark.model)

    def publish(self) -> None:
        """Send it to the followers."""
        self._feed.set_progress(progress_data(JobStatus.RUNNING, self.now(), None))

    @property
    def _share(self) -> float:
        return self._reached / self._samples if self._samples else 0.0

    def _reach(self, samples: int) -> None:
        gained = max(0, samples - self._reached)
        self._reached = max(self._reached, samples)
        if self._mark is not None:
            self._speeds.advance(self._mark, gained / SAMPLE_RATE)

    def _seconds_left(self) -> float | None:
        if self._mark is None or not self._samples:
            return None
        done_here = self._reached - self._reached_before
        if done_here >= _TELLING_SHARE * self._samples:
            elapsed = self._clock.monotonic() - self._mark.at
            return round(elapsed * (self._samples - self._reached) / done_here, 1)
        alone = self.alone_seconds()
        return None if alone is None else round(alone * max(1, self._sharing()), 1)


def progress_data(
    status: JobStatus, progress: JobProgress | None, place: QueuePlace | None
) -> dict[str, Any]:
    """A progress event: the same fields for jobs that wait and jobs that run."""
    return {
        "status": status.value,
        "stage": progress.stage if progress else None,
        "percent": progress.percent if progress else 0.0,
        "seconds_left": progress.seconds_left if progress else None,
        "windows_done": progress.windows_done if progress else 0,
        "segments": progress.segments if progress else 0,
        "language": progress.language if progress else None,
        "device": progress.device if progress else None,
        "position": place.position if place else None,
        "wait_seconds": place.seconds if place else None,
    }


@dataclass(slots=True)
class ActiveJob:
    """A job that is checked or worked on: its cancellation token, and its progress and deadline once it is claimed."""

    cancellation: CancellationToken
    progress: Progress | None = None
    deadline: float | None = None


class ActiveJobs:
    """The jobs that are worked on here. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, ActiveJob] = {}
        self._closing = False

    def __len__(self) -> int:
        with self._lock:
            return len(self._jobs)

    @contextmanager
    def entered(self, job_id: str) -> Iterator[ActiveJob]:
        """While inside, the job can be stopped here. One that comes while the service closes is stopped at once."""
        active = ActiveJob(CancellationToken())
        with self._lock:
            self._jobs[job_id] = active
            if self._closing:
                active.cancellation.pull(StopReason.HANDED_BACK)
        try:
            yield active
        finally:
            with self._lock:
                # A later attempt at the same job may have taken its place.
                if self._jobs.get(job_id) is active:
                    del self._jobs[job_id]

    def find(self, job_id: str) -> ActiveJob | None:
        with self._lock:
            return self._jobs.get(job_id)

    def progresses(self) -> list[Progress]:
        """How far each is that is claimed."""
        with self._lock:
            return [active.progress for active in self._jobs.values() if active.progress]

    def stop_overdue(self, now: float) -> None:
        """Stop those that take longer than they may."""
        with self._lock:
            overdue = [a for a in self._jobs.values() if a.deadline is not None and a.deadline <= now]
        for active in overdue:
            active.cancellation.pull(StopReason.TIMED_OUT)

    def close(self) -> list[ActiveJob]:
        """Those that are worked on now; from here on, any other is stopped as it comes."""
        with self._lock:
            self._closing = True
            return list(self._jobs.values())
