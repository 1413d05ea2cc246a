"""What a caller may ask for, with the values that are allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

TASKS = ("transcribe", "translate")
RESPONSE_FORMATS = ("json", "verbose_json", "text", "srt", "vtt", "tsv")

#: Temperatures tried in turn when a window decodes badly (Whisper's own ladder).
TEMPERATURE_LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class VadParameters:
    """Where speech starts and ends, by faster-whisper's names. None: as usual."""

    threshold: float | None = None
    min_silence_duration_ms: int | None = None
    speech_pad_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """Options the engine honours. language None: detect. temperature None: the ladder."""

    language: str | None = None
    #: Codes that a detected language is one of; none: any.
    languages: tuple[str, ...] = ()
    task: str = "transcribe"
    beam_size: int = 5
    temperature: float | None = None
    initial_prompt: str | None = None
    hotwords: str | None = None
    vad_filter: bool = True
    word_timestamps: bool = False
    condition_on_previous_text: bool = False
    vad_parameters: VadParameters | None = None
    #: Segments carry the probability of each token of their text.
    token_logprobs: bool = False
    #: Only the first seconds of the audio are transcribed; None: all.
    clip_seconds: float | None = None

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, in order."""
        return TEMPERATURE_LADDER if self.temperature is None else (self.temperature,)


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionRequest:
    """One submission: which model, on what device, with which options."""

    model: str
    use_gpu: bool
    require_gpu: bool
    options: TranscriptionOptions
    #: Fields the caller sent that have no effect here; each is named in the answer's warnings.
    ignored: tuple[str, ...] = ()

    def evolve(self, **options: Any) -> TranscriptionRequest:
        """A copy with these options changed."""
        return replace(self, options=replace(self.options, **options))
