"""A window on its way through the decoder: what is given with it, what has become of it so far, and the result."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from ....domain.options import TranscriptionOptions
from ....domain.ports import SAMPLE_RATE
from ....domain.transcript import Segment
from ..arrays import Features
from ..model.log_mel import WINDOW_FRAMES
from ..model.whisper import FRAME_SAMPLES
from ..windows import Window
from .prompts import PromptParts
from .segmentation import DraftText
from .temperature_fallback import TemperatureAttempt, hears_no_speech, is_doubtful, is_silence, needs_fallback


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingRow:
    """One window as the model takes it. language None: find out. history: the text so far, or the initial prompt.

    uncut: features of the whole sound of a short file, which show its language better than what VAD left of it.
    telling: of other windows, used where one is not sure. usual: the language of a window that is not clear.
    stopped: set when its text is not wanted any more, so that it is not tried again.
    """

    window: Window
    features: Features
    options: TranscriptionOptions
    language: str | None
    prompt: PromptParts
    history: tuple[int, ...] = ()
    uncut: Features | None = None
    telling: tuple[Features, ...] = ()
    usual: str | None = None
    stopped: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedWindow:
    """What became of a row. segments have times in the file and no id yet.

    history: what a next window is conditioned on, None where nothing is. dropped: words that had no time in the audio.
    """

    device: str
    language: str
    language_probability: float
    detection_seconds: float
    alternatives: tuple[tuple[str, float], ...] = ()
    segments: tuple[Segment, ...] = ()
    history: tuple[int, ...] | None = None
    dropped: int = 0


@dataclass(slots=True)
class WindowWork:
    """A row on its way through the steps, part by part. start: of the part at hand, seconds from the window's start.

    position: in the encoding at hand. context: frames of that, 0 before there is one. encoded: set where the first
    encoding was needed before, to find the language.
    """

    row: DecodingRow
    language: str
    history: tuple[int, ...]
    probability: float = 1.0
    alternatives: tuple[tuple[str, float], ...] = ()
    detection_seconds: float = 0.0
    device: str = ""
    position: int = 0
    parts: int = 0
    start: float = 0.0
    context: int = 0
    attempts: list[TemperatureAttempt] = field(default_factory=list)
    final: TemperatureAttempt | None = None
    is_hopeless: bool = False
    part: list[DraftText] = field(default_factory=list)
    drafts: list[DraftText] = field(default_factory=list)
    rest: float | None = None

    @property
    def duration(self) -> float:
        """Of the part at hand, to the window's end."""
        return self.row.window.samples / SAMPLE_RATE - self.start

    @property
    def is_conditioned(self) -> bool:
        return self.row.options.condition_on_previous_text

    @property
    def is_short(self) -> bool:
        return 0 < self.context < WINDOW_FRAMES

    @property
    def is_doubtful(self) -> bool:
        """Whether the text comes of a short encoding, and a whole window might give a better one. A rest is a few words,
        of which the model is rarely sure."""
        return (
            self.is_short
            and self.final is not None
            and (needs_fallback(self.final) if self.parts else is_doubtful(self.final))
            and not self.is_silent(self.final)
        )

    def is_silent(self, attempt: TemperatureAttempt) -> bool:
        """Whether nobody speaks: by the model, or by the model and VAD together."""
        return is_silence(attempt) or (self.is_faint and hears_no_speech(attempt))

    @property
    def is_faint(self) -> bool:
        """Without VAD nothing says that the rest of a window is speech."""
        return self.row.window.is_faint or (self.parts > 0 and not self.row.options.vad_filter)

    def features(self) -> Features:
        """Of the part, in the room that it is given."""
        first = round(self.start * SAMPLE_RATE) // FRAME_SAMPLES
        features = self.row.features[:, first : first + self.context]
        missing = self.context - features.shape[1]
        return np.pad(features, ((0, 0), (0, missing))) if missing else features
