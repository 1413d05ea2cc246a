"""The events of one job, in the order that the protocol promises: language, plan, windows with their segments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...domain.events import EngineEvent, LanguageDetected, Planned, SegmentReady, WindowDone
from ...domain.ports import SAMPLE_RATE
from ...domain.transcript import Segment
from .decoding.rows import DecodedWindow
from .windows import Window

#: The plan is sent when this many windows are new, or this many seconds after it was last sent.
_PLAN_WINDOWS = 16
_PLAN_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanTotals:
    """What planning has found up to some window."""

    is_complete: bool
    duration_after_vad: float
    vad_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequenced:
    """What an earlier run of the job has sent, and its plan if that was complete."""

    windows: int = 0
    segments: int = 0
    last_ends: Mapping[int | None, float] = field(default_factory=dict)
    plan: tuple[Window, ...] | None = None


class EventSequencer:
    """Takes what becomes known of a job in any order, and gives it back as events in the right one."""

    def __init__(
        self,
        samples: int,
        told: Sequenced,
        totals: PlanTotals | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """told: sent by an earlier run. totals: those of a plan that is known already."""
        self._duration = round(samples / SAMPLE_RATE, 3)
        self._clock = clock
        self._next_index = told.windows
        self._last_ends = dict(told.last_ends)
        self._segments = told.segments
        self._language: LanguageDetected | None = None
        self._language_is_told = False
        self._found: list[Window] = []
        self._planned = len(told.plan or ())
        self._totals = totals or PlanTotals(is_complete=False, duration_after_vad=0.0, vad_seconds=0.0)
        self._plan_is_told = totals is not None
        self._plan_told_at = float("-inf")
        self._results: dict[int, DecodedWindow] = {}

    @property
    def totals(self) -> PlanTotals:
        return self._totals

    @property
    def has_segments(self) -> bool:
        """Whether the job has any text, that of an earlier run included."""
        return self._segments > 0

    @property
    def is_done(self) -> bool:
        """Everything has been sent except the end."""
        return self._plan_is_told and self._next_index >= self._planned

    def know_language(
        self, language: str, probability: float, alternatives: Sequence[tuple[str, float]] = ()
    ) -> None:
        """The language is known now; alternatives: the next likeliest, if it was detected."""
        self._language = LanguageDetected(
            language=language, language_probability=probability, alternatives=tuple(alternatives)
        )

    def skip_language(self) -> None:
        """An earlier run has sent the language."""
        self._language_is_told = True

    def add_planned(self, window: Window, totals: PlanTotals) -> None:
        """One more window of the plan."""
        self._found.append(window)
        self._totals = totals

    def add_result(self, window: Window, decoded: DecodedWindow) -> None:
        """A window is decoded. One that was sent already changes nothing."""
        if window.index >= self._next_index:
            self._results[window.index] = decoded

    def pull(self) -> list[EngineEvent]:
        """What can be sent now."""
        events: list[EngineEvent] = []
        if self._language is not None and not self._language_is_told:
            self._language_is_told = True
            events.append(self._language)
        if not self._language_is_told:
            return events
        if self._is_plan_due():
            events.append(self._plan())
        while self._next_index in self._results and self._next_index < self._planned:
            events.extend(self._result(self._results.pop(self._next_index)))
            self._next_index += 1
        return events

    def _is_plan_due(self) -> bool:
        if self._plan_is_told or not self._found:
            return False
        return (
            self._totals.is_complete
            or len(self._found) >= _PLAN_WINDOWS
            or self._clock() - self._plan_told_at >= _PLAN_SECONDS
            or self._planned in self._results
        )

    def _plan(self) -> Planned:
        found, self._found = self._found, []
        first, self._planned = self._planned, self._planned + len(found)
        self._plan_is_told = self._totals.is_complete
        self._plan_told_at = self._clock()
        return Planned(
            first_index=first,
            windows=tuple((window.start, window.end) for window in found),
            speech=tuple(tuple((chunk.start, chunk.end) for chunk in window.speech) for window in found),
            faint=tuple(window.is_faint for window in found),
            channels=tuple(window.channel for window in found),
            is_complete=self._totals.is_complete,
            duration_after_vad=self._totals.duration_after_vad,
            vad_seconds=self._totals.vad_seconds,
        )

    def _result(self, decoded: DecodedWindow) -> list[EngineEvent]:
        done = WindowDone(
            index=self._next_index, device=decoded.device, history=decoded.history, dropped=decoded.dropped
        )
        return [done, *(SegmentReady(segment=self._numbered(segment)) for segment in decoded.segments)]

    def _numbered(self, segment: Segment) -> Segment:
        """The segment with its id, beginning where the one before in its channel ended or later, inside the file."""
        start = min(max(segment.start, self._last_ends.get(segment.channel, 0.0)), self._duration)
        end = min(max(segment.end, start), self._duration)
        self._last_ends[segment.channel] = end
        self._segments += 1
        words = segment.words and tuple(
            replace(word, start=min(max(word.start, start), end), end=min(max(word.end, start), end))
            for word in segment.words
        )
        return replace(segment, id=self._segments - 1, start=start, end=end, words=words)
