"""What a live session leaves: its sound in the spool, its captions in a job's journal.

The job is in the store from the first word on, and nobody works on it while the session lasts. Afterwards, or after a
restart, it goes through the service like every other, and finds all of its windows done: what was final is its transcript.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from ..domain.events import FinishedWindow, Planned
from ..domain.jobs import Job
from ..domain.options import TranscriptionRequest
from ..domain.ports import SAMPLE_BYTES, SAMPLE_RATE, Clock
from ..domain.transcript import Segment
from ..gpu.receipt.engine_facts import ObserveEngine
from ..gpu.receipt.engine_shares import share_of
from ..jobs.files.journal import Journal
from ..service.submission import Upload
from ..service.utterances import Utterance
from ..system.durable_files import storage_errors

logger = structlog.get_logger(__name__)

#: Bytes before the first sample of the WAV file.
HEADER_BYTES = 44


class JobHolder(Protocol):
    """What is needed of the service."""

    def begin_upload(self, *, expected_bytes: int = 0, owner: str | None = None) -> Upload: ...

    def abandon_upload(self, upload: Upload) -> None: ...

    def hold(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        owner: str | None,
    ) -> Job: ...

    def queue(self, job: Job) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingParts:
    """Where recordings are kept."""

    jobs: JobHolder
    journal_path: Callable[[str], Path]
    native: Executor
    observe: ObserveEngine
    clock: Clock


class LiveRecording:
    """One session's sound and captions. One thread at a time; raises StorageFullError, StorageFailedError."""

    def __init__(self, parts: RecordingParts, owner: str | None, request_id: str) -> None:
        self._parts = parts
        self._owner = owner
        self._request_id = request_id
        self._begun_at = parts.clock.now()
        self._upload = parts.jobs.begin_upload(owner=owner)
        self._job: Job | None = None
        self._journal: Journal | None = None
        self._pid: int | None = None
        self._run_seconds = self._vad_seconds = self._kept_seconds = 0.0

    @property
    def job_id(self) -> str:
        """The job's, also while there is none."""
        return self._upload.job_id

    @property
    def sound(self) -> Path:
        """The WAV file."""
        return self._upload.path

    def begin(self, request: TranscriptionRequest) -> None:
        """Somebody has spoken: from here on there is a job. A second call does nothing."""
        if self._job is not None:
            return
        name = f"live-{self._begun_at:%Y-%m-%d-%H.%M.%S}.wav"
        self._job = self._parts.jobs.hold(
            self._upload, request, file_name=name, request_id=self._request_id, owner=self._owner
        )
        self._journal = Journal.open(self._parts.journal_path(self.job_id), self._parts.native)

    def cut(self, number: int, start: int, end: int) -> Path:
        """A file with these samples alone, for an engine."""
        return self._parts.native.submit(self._cut, number, start, end).result()

    def add(self, start: int, text: str, utterance: Utterance, seconds: float) -> None:
        """Keep an utterance that begins at this sample, as it was shown; it is on disk on return."""
        journal, plan = self._journal, utterance.plan
        if journal is None or plan is None or utterance.language is None:
            return
        if journal.state.language is None:
            journal.add_language(utterance.language)
        if self._pid != utterance.engine.pid:
            self._pid, self._run_seconds = utterance.engine.pid, 0.0
            journal.begin_run(share_of(utterance.engine, self._parts.observe(utterance.engine)))
        self._run_seconds += seconds
        self._vad_seconds += plan.vad_seconds
        self._kept_seconds += plan.duration_after_vad
        first, number = len(journal.state.windows), len(journal.state.segments)
        journal.add_plan(self._shifted(plan, start, first))
        for window in _as_shown(utterance, text):
            segments = tuple(
                _moved(segment, start / SAMPLE_RATE, number + place)
                for place, segment in enumerate(window.segments)
            )
            number += len(segments)
            kept = replace(window, index=first + window.index, segments=segments)
            journal.add_window(kept, None, self._run_seconds)
        journal.sync()

    def finish(self) -> None:
        """The session is over: its job may run. Without a word there is none, and nothing is left."""
        if self._job is None:
            self._parts.jobs.abandon_upload(self._upload)
            return
        self.leave()
        self._parts.jobs.queue(self._job)

    def leave(self) -> None:
        """The service stops: the job is for the next start."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _cut(self, number: int, start: int, end: int) -> Path:
        path = self._upload.path.with_name(f"utterance-{number}.pcm")
        with storage_errors(), self._upload.path.open("rb") as sound, path.open("wb") as part:
            data = os.pread(sound.fileno(), (end - start) * SAMPLE_BYTES, HEADER_BYTES + start * SAMPLE_BYTES)
            part.write(data)
        return path

    def _shifted(self, plan: Planned, start: int, first: int) -> Planned:
        def moved(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
            return tuple((low + start, high + start) for low, high in spans)

        return replace(
            plan,
            first_index=first,
            windows=moved(plan.windows),
            speech=tuple(moved(chunks) for chunks in plan.speech),
            # Whatever ends the service now, what is here is all there is.
            is_complete=True,
            duration_after_vad=self._kept_seconds,
            vad_seconds=self._vad_seconds,
        )


def _as_shown(utterance: Utterance, text: str) -> list[FinishedWindow]:
    """The windows with the text that was shown, where the last hypothesis has changed its mind about some of it."""
    if utterance.text == text or not utterance.windows:
        return utterance.windows
    heard = utterance.segments
    first = heard[0] if heard else _unheard(utterance)
    whole = replace(
        first,
        end=heard[-1].end if heard else first.end,
        text=f" {text}",
        words=None,
        tokens=(),
        logprobs=None,
    )
    leading, *others = utterance.windows
    return [replace(leading, segments=(whole,)), *(replace(window, segments=()) for window in others)]


def _unheard(utterance: Utterance) -> Segment:
    """In place of a segment, where the last hypothesis has no words and those before had."""
    spans = utterance.plan.windows if utterance.plan is not None else ((0, 0),)
    return Segment(
        id=0,
        seek=0,
        start=spans[0][0] / SAMPLE_RATE,
        end=spans[-1][1] / SAMPLE_RATE,
        text="",
        tokens=(),
        avg_logprob=0.0,
        compression_ratio=0.0,
        no_speech_prob=1.0,
        words=None,
        temperature=0.0,
    )


def _moved(segment: Segment, seconds: float, number: int) -> Segment:
    words = segment.words and tuple(
        replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words
    )
    return replace(
        segment,
        id=number,
        seek=segment.seek + round(seconds * 100),
        start=segment.start + seconds,
        end=segment.end + seconds,
        words=words,
    )
