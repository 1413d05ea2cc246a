"""One job inside the engine child: its waiting windows, its results in order, and the messages about them.

Only the batcher's thread touches it, but for `stopped` and `credits`, which its front end waits on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..domain.options import TranscriptionOptions
from ..domain.ports import SAMPLE_RATE
from ..domain.transcript import Notice, Segment
from .arrays import Features
from .batching import BatchKey, Candidate
from .decoding import DecodedWindow, Row
from .fallback import PROMPT_RESET_TEMPERATURE
from .prompts import previous_tokens
from .protocol import Message
from .windows import Window, choose_telling


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """What the service asks for."""

    job_id: str
    pcm_path: Path
    samples: int
    options: TranscriptionOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the front end found, known when it has read the whole file."""

    windows_total: int
    duration_after_vad: float
    vad_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One window with its features, waiting to be taken into a batch."""

    window: Window
    features: Features


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptParts:
    """Tokens of the job's hotwords and initial prompt, and the token that opens a prompt."""

    sot_prev: int
    hotwords: tuple[int, ...] = ()
    initial_prompt: tuple[int, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(slots=True)
class _Result:
    """What is known of one window; it may be decoded in several parts."""

    segments: list[Segment] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    is_finished: bool = False


class Job:
    """A job in work."""

    def __init__(self, spec: JobSpec, language: str | None, prompt: PromptParts, run_ahead: int) -> None:
        self.spec = spec
        self.stopped = threading.Event()
        self.credits = threading.Semaphore(run_ahead)
        self.turn = 0
        self.windows_served = 0
        self._run_ahead = run_ahead
        self._language = language
        self._language_probability = 1.0
        self._prompt = prompt
        self._history: list[int] = list(prompt.initial_prompt)
        self._waiting: deque[Entry] = deque()
        self._plan: Plan | None = None
        self._results: dict[int, _Result] = {}
        self._next_index = 0
        self._last_end = 0.0
        self._segments_sent = 0
        self._has_announced = [False, False]
        self._started: float | None = None
        self._detection_seconds = 0.0

    @property
    def is_sequential(self) -> bool:
        """Each window needs the text of the one before."""
        return self.spec.options.condition_on_previous_text

    def add_entry(self, entry: Entry) -> None:
        """A window from the front end."""
        self._waiting.append(entry)

    def add_rest(self, entry: Entry) -> None:
        """The rest of a window, to be decoded before those that wait."""
        self._waiting.appendleft(entry)

    def set_plan(self, plan: Plan) -> None:
        """The front end is done."""
        self._plan = plan

    def candidates(self, sot_length: int) -> list[Candidate]:
        """The windows that may be taken now; sot_length: tokens that every prompt ends with."""
        options = self.spec.options
        key = BatchKey(
            prompt_length=len(self._previous()) + sot_length,
            beam_size=options.beam_size,
            temperatures=options.temperatures,
        )
        return [
            Candidate(
                job_id=self.spec.job_id,
                position=position,
                key=key,
                turn=self.turn,
                windows_served=self.windows_served,
            )
            for position in self._ready_positions()
        ]

    def take(self, positions: Sequence[int]) -> list[Row]:
        """Rows of these waiting windows, which wait no more."""
        if self._started is None:
            self._started = time.monotonic()
        previous = self._previous()
        rows = [self._row(self._waiting[position], previous) for position in positions]
        for position in sorted(positions, reverse=True):
            if self._waiting[position].window.part == 0:
                self.credits.release()
            del self._waiting[position]
        self.windows_served += len(positions)
        return rows

    def record(self, window: Window, decoded: DecodedWindow) -> None:
        """A window, or a part of it, is decoded."""
        if self._language is None:
            self._language = decoded.language
            self._language_probability = decoded.language_probability
            self._detection_seconds = decoded.detection_seconds
        result = self._results.setdefault(window.index, _Result())
        result.segments.extend(decoded.segments)
        result.devices.add(decoded.device)
        result.is_finished = decoded.rest is None
        if self.is_sequential:
            self._remember(decoded)

    def pull_messages(self) -> list[Message]:
        """What can be told now, in the order the protocol promises."""
        messages: list[Message] = []
        if self._language is not None and not self._has_announced[0]:
            self._has_announced[0] = True
            messages.append(self._language_message(self._language))
        if self._has_announced[0] and self._plan is not None and not self._has_announced[1]:
            self._has_announced[1] = True
            messages.append(self._plan_message(self._plan))
        while self._has_announced[1] and self._is_next_finished():
            messages.extend(self._result_messages(self._results.pop(self._next_index)))
            self._next_index += 1
        return messages

    def is_done(self) -> bool:
        """Every window's messages have been pulled."""
        return self._plan is not None and self._next_index == self._plan.windows_total

    def done_message(self, pool_peak_bytes: int | None) -> Message:
        """The last message of a job that went well."""
        notices = list(self._prompt.notices)
        if self._segments_sent == 0:
            notices.append(
                Notice(code="no_speech", message="No speech was found in the audio.", param="audio")
            )
        elapsed = time.monotonic() - self._started if self._started is not None else 0.0
        return {
            "type": "done",
            "job_id": self.spec.job_id,
            "vad_seconds": self._plan.vad_seconds if self._plan else 0.0,
            "language_detection_seconds": self._detection_seconds,
            "transcription_seconds": max(0.0, elapsed - self._detection_seconds),
            "pool_peak_bytes": pool_peak_bytes,
            "notices": [asdict(notice) for notice in notices],
        }

    def stop(self) -> None:
        """No more of this job: its front end is woken, and gives up."""
        self.stopped.set()
        self._waiting.clear()
        self.credits.release()

    def _previous(self) -> tuple[int, ...]:
        return previous_tokens(self._prompt.sot_prev, self._prompt.hotwords, self._history)

    def _row(self, entry: Entry, previous: tuple[int, ...]) -> Row:
        return Row(
            window=entry.window,
            features=entry.features,
            options=self.spec.options,
            language=self._language,
            previous=previous,
        )

    def _ready_positions(self) -> Sequence[int]:
        """Positions of waiting windows that may be taken."""
        if not self._waiting:
            return ()
        if self.is_sequential:
            return (0,)
        if self._language is not None:
            return range(len(self._waiting))
        complete = self._plan is not None or len(self._waiting) >= self._run_ahead
        telling = choose_telling([entry.window for entry in self._waiting], complete=complete)
        return () if telling is None else (telling,)

    def _remember(self, decoded: DecodedWindow) -> None:
        if decoded.temperature > PROMPT_RESET_TEMPERATURE:
            self._history.clear()
        else:
            self._history.extend(decoded.text_tokens)

    def _is_next_finished(self) -> bool:
        result = self._results.get(self._next_index)
        return result is not None and result.is_finished

    def _result_messages(self, result: _Result) -> list[Message]:
        # A window counts for the GPU only if every part of it was computed there.
        device = min(result.devices, key=lambda name: name == "cuda")
        messages: list[Message] = [
            {"type": "window", "job_id": self.spec.job_id, "index": self._next_index, "device": device}
        ]
        for segment in result.segments:
            messages.append(
                {"type": "segment", "job_id": self.spec.job_id, "segment": asdict(self._numbered(segment))}
            )
        return messages

    def _numbered(self, segment: Segment) -> Segment:
        """The segment with its id, beginning where the one before ended or later, inside the file."""
        duration = round(self.spec.samples / SAMPLE_RATE, 3)
        start = min(max(segment.start, self._last_end), duration)
        end = min(max(segment.end, start), duration)
        self._last_end = end
        self._segments_sent += 1
        words = segment.words and tuple(
            replace(word, start=min(max(word.start, start), end), end=min(max(word.end, start), end))
            for word in segment.words
        )
        return replace(segment, id=self._segments_sent - 1, start=start, end=end, words=words)

    def _language_message(self, language: str) -> Message:
        return {
            "type": "language",
            "job_id": self.spec.job_id,
            "language": language,
            "language_probability": self._language_probability,
        }

    def _plan_message(self, plan: Plan) -> Message:
        return {
            "type": "plan",
            "job_id": self.spec.job_id,
            "windows_total": plan.windows_total,
            "duration_after_vad": plan.duration_after_vad,
        }
