"""The CPU work ahead of the model, one thread a job: PCM to VAD to windows to log-mel."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..domain.ports import SAMPLE_RATE
from .arrays import Features, Samples
from .job import Entry, Job, Plan
from .pcm import Pcm, find_least_speech
from .vad import FRAME_SAMPLES, VadOptions, VadSession, iter_probabilities, iter_speech
from .windows import SpeechChunk, Window, pack, silent_window, split_evenly


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """To the batcher: all windows of this job have been handed over."""

    job: Job
    plan: Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Offered:
    """To the batcher: one more window of this job."""

    job: Job
    entry: Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEndFailed:
    """To the batcher: this job's audio can't be prepared."""

    job: Job
    error: Exception


FrontEndMessage = Planned | Offered | FrontEndFailed


class FrontEnd:
    """Prepares one job. run() is the body of its thread."""

    def __init__(
        self,
        job: Job,
        log_mel: Callable[[Samples], Features],
        vad: VadSession,
        post: Callable[[FrontEndMessage], None],
    ) -> None:
        self._job = job
        self._log_mel = log_mel
        self._vad = vad
        self._post = post
        self._vad_seconds = 0.0
        self._kept_samples = 0
        self._probabilities = array("f")

    def run(self) -> None:
        """Hand every window to the batcher, a few ahead of it; any failure becomes a message."""
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - the thread's boundary; the batcher reports it
            self._post(FrontEndFailed(job=self._job, error=error))

    def _prepare(self) -> None:
        spec = self._job.spec
        pcm = Pcm(spec.pcm_path, spec.samples)
        count = 0
        for window in self._iter_windows(pcm):
            if not self._hand_over(pcm, window):
                return
            count += 1
        plan = Plan(
            windows_total=count,
            duration_after_vad=self._kept_samples / SAMPLE_RATE,
            vad_seconds=self._vad_seconds,
        )
        self._post(Planned(job=self._job, plan=plan))

    def _hand_over(self, pcm: Pcm, window: Window) -> bool:
        """False when the job has been stopped."""
        self._job.credits.acquire()
        if self._job.stopped.is_set():
            return False
        features = self._log_mel(pcm.read(window.start, window.end))
        self._post(Offered(job=self._job, entry=Entry(window=window, features=features)))
        return True

    def _iter_windows(self, pcm: Pcm) -> Iterator[Window]:
        """At least one window, as soon as each is known."""
        windows = self._iter_speech_windows(pcm) if self._job.spec.options.vad_filter else self._iter_all(pcm)
        is_empty = True
        for window in windows:
            is_empty = False
            yield window
        if is_empty:
            yield silent_window(pcm.samples)

    def _iter_all(self, pcm: Pcm) -> Iterator[Window]:
        self._kept_samples = pcm.samples
        return split_evenly(pcm.samples, pcm.find_quietest)

    def _iter_speech_windows(self, pcm: Pcm) -> Iterator[Window]:
        blocks = self._timed_probabilities(pcm)
        chunks = iter_speech(blocks, pcm.samples, VadOptions())
        return pack(self._counted(chunks), self._find_cut)

    def _timed_probabilities(self, pcm: Pcm) -> Iterator[float]:
        """The file's probabilities; they are kept for cutting, and the time they take is counted."""
        probabilities = iter_probabilities(self._vad, pcm.iter_blocks())
        while not self._job.stopped.is_set():
            started = time.monotonic()
            probability = next(probabilities, None)
            self._vad_seconds += time.monotonic() - started
            if probability is None:
                return
            self._probabilities.append(probability)
            yield probability

    def _counted(self, chunks: Iterable[SpeechChunk]) -> Iterator[SpeechChunk]:
        for chunk in chunks:
            self._kept_samples += chunk.end - chunk.start
            yield chunk

    def _find_cut(self, low: int, high: int) -> int:
        return find_least_speech(np.frombuffer(self._probabilities, np.float32), low, high, FRAME_SAMPLES)
