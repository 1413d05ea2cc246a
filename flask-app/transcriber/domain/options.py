"""What a caller may ask for, with the values that are allowed."""

from __future__ import annotations

from dataclasses import dataclass

TASKS = ("transcribe", "translate")
RESPONSE_FORMATS = ("json", "verbose_json", "text", "srt", "vtt", "tsv")

#: Temperatures tried in turn when a window decodes badly (Whisper's own ladder).
TEMPERATURE_LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """Options the engine honours. language None: detect. temperature None: the ladder."""

    language: str | None = None
    task: str = "transcribe"
    beam_size: int = 5
    temperature: float | None = None
    initial_prompt: str | None = None
    hotwords: str | None = None
    vad_filter: bool = True
    word_timestamps: bool = False
    condition_on_previous_text: bool = False

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
