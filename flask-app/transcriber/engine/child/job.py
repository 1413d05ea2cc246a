"""One job inside the engine child: its waiting windows in their groups, and the text they are conditioned on.

Only the scheduler's thread touches it, but for `stopped` and `credits`, which its front end waits on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...domain.events import Finished
from ...domain.options import TranscriptionOptions
from ...domain.transcript import Notice
from .arrays import Features
from .batching import LIVE, BatchKey, Candidate, group_of
from .decoding.prompts import PromptParts, previous_tokens
from .decoding.rows import DecodedWindow, DecodingRow
from .event_sequencer import EventSequencer, PlanTotals, Sequenced
from .windows import WINDOW_SAMPLES, Window, rank_telling

#: So many windows are asked for the file's language.
_TELLING_WINDOWS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """Where a job goes on that an earlier run began. totals: of its plan, if that is known."""

    language: str
    language_probability: float
    told: Sequenced
    totals: PlanTotals | None
    history: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """What the service asks for."""

    job_id: str
    pcm_path: Path
    samples: int
    options: TranscriptionOptions
    pcm_channels: int = 1
    lane: str = "long"
    resumed: Resumed | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Entry:
    """One window with its features, waiting to be taken into a batch. uncut: as in Row."""

    window: Window
    features: Features
    uncut: Features | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Grouping:
    """How windows go together. alone_is_alike: a window's text does not depend on its batch.

    lanes: batches of one job that run side by side. parts_lanes: short and long jobs share no batch.
    """

    limit: int
    alone_is_alike: bool
    lanes: int = 1
    parts_lanes: bool = False


class EngineJob:
    """A job in work."""

    def __init__(self, spec: JobSpec, language: str | None, prompt: PromptParts, grouping: Grouping) -> None:
        self.spec = spec
        self.stopped = threading.Event()
        self._run_ahead = 2 * grouping.limit
        self.credits = threading.Semaphore(self._run_ahead)
        self.turn = 0
        self.windows_served = 0
        resumed = spec.resumed
        self.sequencer = EventSequencer(
            spec.samples,
            resumed.told if resumed else Sequenced(),
            resumed.totals if resumed else None,
        )
        self._grouping = grouping
        self._prompt = prompt
        #: The text so far, or the initial prompt.
        self._history = self._first_history()
        self._waiting: deque[Entry] = deque()
        #: Batches that hold windows of this job now.
        self._in_work = 0
        #: The newest window that came from the front end, and the last one there is, once that is known.
        self._newest = -1
        self._last: int | None = None
        if resumed and resumed.told.plan is not None:
            self._last = len(resumed.told.plan) - 1
        self._language: str | None = None
        self._finds_language = language is None
        self._started: float | None = None
        self._detection_seconds = 0.0
        if resumed:
            self._language = resumed.language
            self.sequencer.skip_language()
        elif language is not None:
            self._language = language
            self.sequencer.know_language(language, 1.0)

    @property
    def is_sequential(self) -> bool:
        """Each window needs the text of the one before."""
        return self.spec.options.condition_on_previous_text

    @property
    def wants_uncut(self) -> bool:
        """Whether the language of a short file is detected from all of its sound."""
        return (
            self._language is None
            and not self.spec.options.multilingual
            and self.spec.samples <= WINDOW_SAMPLES
        )

    @property
    def first_index(self) -> int:
        """The first window to decode: where the text depends on the batch, that of the whole group once more."""
        done = self.spec.resumed.told.windows if self.spec.resumed else 0
        if self.is_sequential or self._grouping.alone_is_alike:
            return done
        return group_of(done, self._grouping.limit).start

    @property
    def known_plan(self) -> tuple[Window, ...] | None:
        """The windows, if an earlier run has found them all."""
        return self.spec.resumed.told.plan if self.spec.resumed else None

    def add_planned(self, window: Window, totals: PlanTotals) -> None:
        """The front end has found this window; the last one completes the plan."""
        self.sequencer.add_planned(window, totals)
        if totals.is_complete:
            self._last = window.index

    def add_entry(self, entry: Entry) -> None:
        """A window from the front end, with its features."""
        self._waiting.append(entry)
        self._newest = entry.window.index

    def candidate(self, sot_length: int) -> Candidate | None:
        """The group that may be taken now; sot_length: tokens that every prompt ends with."""
        group = self._ready()
        if not group:
            return None
        options = self.spec.options
        return Candidate(
            job_id=self.spec.job_id,
            rows=len(group),
            key=BatchKey(
                prompt_length=len(self._previous()) + sot_length,
                beam_size=options.beam_size,
                temperatures=options.temperatures,
                lane=self.spec.lane if self._grouping.parts_lanes else None,
            ),
            turn=self.turn,
            windows_served=self.windows_served,
            is_live=self.spec.lane == LIVE,
        )

    def take(self) -> list[DecodingRow]:
        """Rows of the group that is ready, whose windows wait no more."""
        if self._started is None:
            self._started = time.monotonic()
        group = self._ready()
        telling = [] if self._language else self._telling_besides(group)
        for entry in group:
            self._waiting.remove(entry)
            self.credits.release()
        self.windows_served += len(group)
        self._in_work += 1
        return [self._row(entry, telling) for entry in group]

    def batch_ended(self) -> None:
        """A batch with windows of this job is through the model."""
        self._in_work -= 1

    def record(self, window: Window, decoded: DecodedWindow) -> None:
        """A window is decoded."""
        if self._language is None:
            self._language = decoded.language
            self._detection_seconds = decoded.detection_seconds
            self.sequencer.know_language(decoded.language, decoded.language_probability, decoded.alternatives)
        if decoded.history is not None:
            self._history = decoded.history
        self.sequencer.add_result(window, decoded)

    def finished(self, pool_peak_bytes: int | None) -> Finished:
        """The last event of a job that went well."""
        notices = list(self._prompt.notices)
        if not self.sequencer.has_segments:
            notices.append(
                Notice(code="no_speech", message="No speech was found in the audio.", param="audio")
            )
        elapsed = time.monotonic() - self._started if self._started is not None else 0.0
        return Finished(
            vad_seconds=self.sequencer.totals.vad_seconds,
            language_detection_seconds=self._detection_seconds,
            transcription_seconds=max(0.0, elapsed - self._detection_seconds),
            pool_peak_bytes=pool_peak_bytes,
            notices=tuple(notices),
        )

    def stop(self) -> None:
        """No more of this job: its front end is woken, and gives up."""
        self.stopped.set()
        self._waiting.clear()
        self.credits.release()

    def _first_history(self) -> tuple[int, ...]:
        resumed = self.spec.resumed
        if resumed is not None and resumed.history is not None:
            return resumed.history
        return self._prompt.initial_prompt

    def _previous(self) -> tuple[int, ...]:
        return previous_tokens(self._prompt.sot_prev, self._prompt.hotwords, self._history)

    def _row(self, entry: Entry, telling: Sequence[Features]) -> DecodingRow:
        is_multilingual = self.spec.options.multilingual and self._finds_language
        return DecodingRow(
            window=entry.window,
            features=entry.features,
            uncut=entry.uncut,
            telling=tuple(telling),
            usual=self._language,
            options=self.spec.options,
            language=None if is_multilingual else self._language,
            prompt=self._prompt,
            history=self._history,
            stopped=self.stopped,
        )

    def _ready(self) -> list[Entry]:
        """The entries that may be taken now: a whole group of them, or none."""
        if self._in_work and self._has_to_wait:
            return []
        if not self._waiting:
            return []
        if self.is_sequential:
            return [self._waiting[0]]
        if self._language is None:
            return self._telling()
        stop = self._group_end(self._waiting[0].window.index)
        if self._newest < stop - 1 and self._newest != self._last:
            return []
        return [entry for entry in self._waiting if entry.window.index < stop]

    def _group_end(self, first: int) -> int:
        """Where the group ends that begins with this window.

        Where a text does not depend on its batch, a group towards the end of a file is smaller, so that the lanes
        end together.
        """
        stop = group_of(first, self._grouping.limit).stop
        if self._last is None or not self._grouping.alone_is_alike:
            return stop
        share = -(-(self._last - first + 1) // self._grouping.lanes)
        return min(stop, first + max(1, share))

    @property
    def _has_to_wait(self) -> bool:
        """For the batch in work: its text or language is needed."""
        return self.is_sequential or self._language is None

    def _telling(self) -> list[Entry]:
        """The window that the language is detected from, alone."""
        complete = self._newest == self._last or len(self._waiting) >= self._run_ahead
        order = rank_telling([entry.window for entry in self._waiting])
        if not order or (not complete and len(order) < _TELLING_WINDOWS):
            return []
        return [self._waiting[order[0]]]

    def _telling_besides(self, group: Sequence[Entry]) -> list[Features]:
        """The windows that are used too where the first one leaves the language unsure."""
        order = rank_telling([entry.window for entry in self._waiting])[:_TELLING_WINDOWS]
        return [self._waiting[place].features for place in order if self._waiting[place] not in group]
