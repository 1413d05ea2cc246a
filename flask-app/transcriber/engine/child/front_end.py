"""The CPU work ahead of the model, two threads a job: one plans windows, one makes their log-mel.

The plan costs little memory, so it goes through the file at once; features wait for the scheduler's credits.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ...domain.ports import SAMPLE_RATE
from .arrays import Features, Samples
from .batching import LIVE
from .event_sequencer import PlanTotals
from .job import EngineJob, Entry
from .pcm import Pcm, find_least_speech
from .vad import FRAME_SAMPLES, VadSession, iter_probabilities, iter_speech, vad_options
from .windows import MULTILINGUAL, Packing, SpeechChunk, Window, merge_channels, pack, silent_window


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlanned:
    """To the scheduler: one more window of this job's plan."""

    job: EngineJob
    window: Window
    totals: PlanTotals


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowReady:
    """To the scheduler: one more window of this job, ready for the model."""

    job: EngineJob
    entry: Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEndFailed:
    """To the scheduler: this job's audio can't be prepared."""

    job: EngineJob
    error: Exception


#: A planner far ahead of the model takes only the time that the lanes leave it. Before it is that far, the lanes wait for
#: it, and on a busy machine it would be the last to run.
_PLANNER_NICENESS = 10
_WINDOWS_AHEAD = 4

FrontEndMessage = WindowPlanned | WindowReady | FrontEndFailed


def _step_back() -> None:
    """Lower this thread's priority, unless it is that low already; a sandbox may refuse it."""
    thread = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(
            os.PRIO_PROCESS, thread, max(_PLANNER_NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        )


class FrontEnd:
    """Prepares one job, on threads of its own."""

    def __init__(
        self,
        job: EngineJob,
        log_mel: Callable[[Samples], Features],
        vad: VadSession,
        post: Callable[[FrontEndMessage], None],
    ) -> None:
        self._job = job
        self._log_mel = log_mel
        self._vad = vad
        self._post = post
        self._windows: queue.SimpleQueue[Window | None] = queue.SimpleQueue()
        self._vad_seconds = 0.0
        self._kept_samples = 0

    def start(self) -> None:
        """Hand every window to the scheduler, features a few ahead of it; any failure becomes a message."""
        job_id = self._job.spec.job_id
        for name, body in ((f"planner-{job_id}", self._plan), (f"front-end-{job_id}", self._prepare)):
            threading.Thread(target=self._run, args=(body,), name=name, daemon=True).start()

    def _run(self, body: Callable[[], None]) -> None:
        """Thread: plan, or prepare."""
        try:
            body()
        except Exception as error:  # noqa: BLE001 - the thread's boundary; the scheduler reports it
            self._windows.put(None)
            self._post(FrontEndFailed(job=self._job, error=error))

    def _plan(self) -> None:
        """Find the windows. Each is passed on once the next is known, so that the last one is marked as such."""
        known = self._job.known_plan
        if known is not None:
            for window in known[self._job.first_index :]:
                self._windows.put(window)
            self._windows.put(None)
            return
        held: Window | None = None
        for window in self._iter_windows():
            if held is not None:
                self._post(WindowPlanned(job=self._job, window=held, totals=self._totals(is_complete=False)))
            held = window
            if window.index >= self._job.first_index:
                self._windows.put(window)
            if window.index == self._job.first_index + _WINDOWS_AHEAD and self._job.spec.lane != LIVE:
                _step_back()
        self._windows.put(None)
        if held is not None:
            self._post(WindowPlanned(job=self._job, window=held, totals=self._totals(is_complete=True)))

    def _totals(self, *, is_complete: bool) -> PlanTotals:
        return PlanTotals(
            is_complete=is_complete,
            duration_after_vad=self._kept_samples / SAMPLE_RATE,
            vad_seconds=self._vad_seconds,
        )

    def _prepare(self) -> None:
        """Features of each window, as the scheduler takes those before."""
        is_uncut_wanted = self._job.wants_uncut
        while (window := self._windows.get()) is not None:
            self._job.credits.acquire()
            if self._job.stopped.is_set():
                return
            pcm = self._pcm(window.channel)
            entry = Entry(
                window=window,
                features=self._log_mel(pcm.read(window.start, window.end)),
                uncut=self._log_mel(pcm.read(0, pcm.samples)) if is_uncut_wanted else None,
            )
            is_uncut_wanted = False
            self._post(WindowReady(job=self._job, entry=entry))

    def _iter_windows(self) -> Iterator[Window]:
        """At least one window, as soon as each is known."""
        count = self._job.spec.pcm_channels
        channels = [self._iter_channel(self._pcm(channel)) for channel in range(count)]
        is_empty = True
        for window in channels[0] if count == 1 else merge_channels(channels):
            is_empty = False
            yield window
        if is_empty:
            yield silent_window(self._job.spec.samples)

    def _iter_channel(self, pcm: Pcm) -> Iterator[Window]:
        packing = MULTILINGUAL if self._job.spec.options.multilingual else Packing()
        if not self._job.spec.options.vad_filter:
            return pack(self._counted(pcm.iter_sound()), pcm.find_quietest, packing)
        probabilities = array("f")
        chunks = iter_speech(
            self._timed(pcm, probabilities), pcm.samples, vad_options(self._job.spec.options.vad_parameters)
        )

        def find_cut(low: int, high: int) -> int:
            return find_least_speech(np.frombuffer(probabilities, np.float32), low, high, FRAME_SAMPLES)

        return pack(self._counted(chunks), find_cut, packing)

    def _timed(self, pcm: Pcm, kept: array[float]) -> Iterator[float]:
        """The file's probabilities; they are kept for cutting, and the time they take is counted."""
        probabilities = iter_probabilities(self._vad, pcm.iter_blocks())
        while not self._job.stopped.is_set():
            started = time.monotonic()
            probability = next(probabilities, None)
            self._vad_seconds += time.monotonic() - started
            if probability is None:
                return
            kept.append(probability)
            yield probability

    def _counted(self, chunks: Iterable[SpeechChunk]) -> Iterator[SpeechChunk]:
        for chunk in chunks:
            self._kept_samples += chunk.end - chunk.start
            yield chunk

    def _pcm(self, channel: int | None) -> Pcm:
        spec = self._job.spec
        return Pcm(spec.pcm_path, spec.samples, spec.pcm_channels, channel or 0)
