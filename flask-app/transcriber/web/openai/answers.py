"""The shapes of OpenAI's answers, for /openapi.json. Tests hold every answer against them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, RootModel

from ...domain.transcript import FallbackReason, Notice
from ..openapi.answers import TranscriptionAnswer


class LanguageObject(BaseModel):
    """A language that was detected."""

    code: str


class LogprobObject(BaseModel):
    """One token of the text, with the model's own probability."""

    token: str
    logprob: float | None
    bytes: list[int]


class DurationUsage(BaseModel):
    """What was worked on."""

    type: Literal["duration"]
    seconds: float


class SpeechSegment(BaseModel):
    """A segment, with all that OpenAI's have."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class SpeechWord(BaseModel):
    """A word with its times."""

    word: str
    start: float
    end: float


class DiarizedSegment(BaseModel):
    """What one speaker says."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str = Field(description="the known name, else A, B, …; unknown where no voice was found")


class SpeechAnswer(BaseModel):
    """`json`, and with all fields `verbose_json`; the device facts beside what OpenAI sends."""

    text: str
    languages: list[LanguageObject] | None = Field(None, description="json")
    logprobs: list[LogprobObject] | None = Field(None, description="json with include[]=logprobs")
    usage: DurationUsage
    task: str | None = Field(None, description="verbose_json, diarized_json")
    language: str | None = Field(None, description="verbose_json: the English name")
    language_code: str | None = Field(None, description="verbose_json")
    source_language: str | None = Field(None, description="verbose_json of a translation: what was spoken")
    segments: list[SpeechSegment] | list[DiarizedSegment] | None = Field(
        None, description="verbose_json, unless words alone were asked for; diarized_json: by speaker"
    )
    words: list[SpeechWord] | None = Field(
        None, description="verbose_json with timestamp_granularities[]=word"
    )
    job_id: str
    model: str
    duration: float | None
    gpu_used: bool
    device: str
    compute_type: str
    fallback_reason: FallbackReason | None
    warnings: list[Notice]


class VerboseAnswer(BaseModel):
    """`response_format=verbose_json` on every route."""

    task: str
    language: str = Field(description="the English name")
    language_code: str
    duration: float
    text: str
    segments: list[SpeechSegment]
    words: list[SpeechWord] | None = Field(None, description="with word_timestamps")
    usage: DurationUsage
    gpu_used: bool
    device: str
    compute_type: str
    fallback_reason: FallbackReason | None
    warnings: list[Notice]


class JsonAnswer(RootModel[TranscriptionAnswer | VerboseAnswer]):
    """`response_format=json`, the default, or `verbose_json`."""


class ModelObject(BaseModel):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str = Field(description="the model that this name stands for")


class ModelListAnswer(BaseModel):
    """Every model."""

    object: Literal["list"]
    data: list[ModelObject]
