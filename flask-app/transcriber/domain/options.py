"""What a caller may ask for, with the values that are allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

TASKS = ("transcribe", "translate")
RESPONSE_FORMATS = ("json", "verbose_json", "text", "srt", "vtt", "tsv")

#: Temperatures tried in turn when a window decodes badly (Whisper's own ladder).
TEMPERATURE_LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


#: What becomes of the channels of a recording: mixed, one of them, or each on its own.
CHANNELS = ("mix", "left", "right", "split")

#: A recording of more channels is mixed rather than split.
MOST_CHANNELS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioSelection:
    """What of a file is heard. audio_track: its number among the audio tracks, from 0; None: the likeliest."""

    channels: str = "mix"
    audio_track: int | None = None


#: What is heard unless something is said.
MIX = AudioSelection()


@dataclass(frozen=True, kw_only=True, slots=True)
class VadParameters:
    """Where speech starts and ends, by faster-whisper's names. None: as usual."""

    threshold: float | None = None
    min_silence_duration_ms: int | None = None
    speech_pad_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """Options the engine honours. language None: detect. temperature None: the ladder.

    languages: those that may be detected; all if empty. multilingual: each window has a language of its own.
    """

    language: str | None = None
    languages: tuple[str, ...] = ()
    multilingual: bool = False
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
    channels: str = "mix"
    audio_track: int | None = None

    @property
    def selection(self) -> AudioSelection:
        """What the decoder has to know."""
        return AudioSelection(channels=self.channels, audio_track=self.audio_track)

    #: Tell speakers apart; the least and the greatest number of them, None: unknown.
    diarize: bool = False
    min_speakers: int | None = None
    max_speakers: int | None = None
    #: Names of voices that were sent along, each with a recording in the job's folder.
    known_speakers: tuple[str, ...] = ()

    @property
    def for_engine(self) -> TranscriptionOptions:
        """What the engine is asked: speakers are given to words, so that it has to time them."""
        return replace(self, word_timestamps=self.word_timestamps or self.diarize)

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
    #: Where the file is fetched from; None: it was uploaded.
    url: str | None = None
    #: Whether the caller asked for the GPU, rather than leaving it to the installation's default.
    asks_for_gpu: bool = False

    def evolve(self, **options: Any) -> TranscriptionRequest:
        """A copy with these options changed."""
        return replace(self, options=replace(self.options, **options))
