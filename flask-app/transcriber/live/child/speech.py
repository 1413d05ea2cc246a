"""Where speech starts and stops in a stream, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from .sound import RATE, Samples

#: One probability for this many samples (32 ms), and how many of those before the model looks back on.
FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64

#: After two seconds without speech the model forgets what it heard, or music and noise make it deaf to what follows.
_QUIET_FRAMES = 2 * RATE // FRAME_SAMPLES

#: So much silence, and the utterance is probably over: whoever transcribes it may begin.
_PAUSE_SAMPLES = RATE // 5

#: A stretch counts as speech with one frame as sure as this, or with so many above the threshold: what is faint, or music,
#: is for the engine to judge, as it does with files.
_SURE = 0.85
_SURE_FRAMES = 8

#: Speech that has begun goes on until the probability falls this far below the threshold.
_HYSTERESIS = 0.15

#: An utterance without a pause is cut at its least speechy frame of the last six seconds.
LONGEST_SAMPLES = 24 * RATE
_SEARCH_FRAMES = 6 * RATE // FRAME_SAMPLES

#: Frames (input and state) to probabilities and the next state.
Model = Callable[[Samples, Samples, Samples], tuple[float, Samples, Samples]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnDetection:
    """OpenAI's names: when speech counts, how much before it is taken along, and how much silence ends it."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True)
class Boundary:
    """Speech 'started' or 'stopped' at this sample of the stream; before it stops it is 'paused', and may be 'resumed'."""

    kind: str
    sample: int


@dataclass(slots=True)
class SpeechDetector:
    """Finds the utterances of one stream."""

    model: Model
    turns: TurnDetection
    _pending: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    _context: Samples = field(default_factory=lambda: np.zeros(_CONTEXT_SAMPLES, np.float32))
    _h: Samples = field(default_factory=lambda: np.zeros((1, 1, 128), np.float32))
    _c: Samples = field(default_factory=lambda: np.zeros((1, 1, 128), np.float32))
    _frames: int = 0
    _quiet: int = 0
    #: Of the stretch that may become, or is, an utterance.
    _begun: int | None = None
    _is_sure: bool = False
    _likely: int = 0
    _silent_since: int | None = None
    _is_paused: bool = False
    _probabilities: list[float] = field(default_factory=list)
    _floor: int = 0

    def feed(self, samples: Samples) -> Iterator[Boundary]:
        """What is found with these samples."""
        self._pending = np.concatenate([self._pending, samples])
        while len(self._pending) >= FRAME_SAMPLES:
            frame, self._pending = self._pending[:FRAME_SAMPLES], self._pending[FRAME_SAMPLES:]
            yield from self._judge(self._probability(frame))
            self._frames += 1

    def skip(self, samples: int) -> None:
        """So many samples of the stream came before."""
        self._frames = -(-samples // FRAME_SAMPLES)
        self._floor = samples

    def end(self, sample: int) -> None:
        """The utterance, if there is one, ends here by somebody's word."""
        self._begun, self._is_sure, self._silent_since, self._is_paused = None, False, None, False
        self._floor = sample

    def _probability(self, frame: Samples) -> float:
        inputs = np.concatenate([self._context, frame])[None]
        probability, self._h, self._c = self.model(inputs, self._h, self._c)
        self._context = frame[-_CONTEXT_SAMPLES:]
        self._quiet = self._quiet + 1 if probability < 0.5 else 0
        if self._quiet >= _QUIET_FRAMES:
            self._h, self._c, self._quiet = np.zeros_like(self._h), np.zeros_like(self._c), 0
        return probability

    def _judge(self, probability: float) -> Iterator[Boundary]:
        here = self._frames * FRAME_SAMPLES
        if self._begun is None:
            if probability < self.turns.threshold:
                return
            padding = self.turns.prefix_padding_ms * RATE // 1000
            self._begun = max(self._floor, here - padding)
            self._silent_since, self._probabilities, self._likely = None, [], 0
        self._probabilities.append(probability)
        self._likely += probability >= self.turns.threshold
        is_sure = self._likely >= _SURE_FRAMES or probability >= max(_SURE, self.turns.threshold)
        if not self._is_sure and is_sure:
            self._is_sure = True
            yield Boundary("started", self._begun)
        if probability >= self.turns.threshold:
            self._silent_since = None
            if self._is_paused:
                self._is_paused = False
                yield Boundary("resumed", here)
        elif probability < self.turns.threshold - _HYSTERESIS and self._silent_since is None:
            self._silent_since = here
        yield from self._end_if_over(here)

    def _end_if_over(self, here: int) -> Iterator[Boundary]:
        assert self._begun is not None
        silence = self.turns.silence_duration_ms * RATE // 1000
        quiet = 0 if self._silent_since is None else here + FRAME_SAMPLES - self._silent_since
        if self._is_sure and not self._is_paused and _PAUSE_SAMPLES <= quiet < silence:
            self._is_paused = True
            yield Boundary("paused", here + FRAME_SAMPLES)
        if self._silent_since is not None and quiet >= silence:
            if self._is_sure:
                yield Boundary("stopped", here + FRAME_SAMPLES)
            self.end(here + FRAME_SAMPLES)
        elif self._is_sure and here - self._begun >= LONGEST_SAMPLES:
            recent = self._probabilities[-_SEARCH_FRAMES:]
            cut = here - (len(recent) - 1 - int(np.argmin(recent))) * FRAME_SAMPLES
            yield Boundary("stopped", cut)
            self._begun, self._floor, self._probabilities = cut, cut, recent[int(np.argmin(recent)) :]
            yield Boundary("started", cut)
