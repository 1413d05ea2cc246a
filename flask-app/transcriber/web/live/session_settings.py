"""session.update: what a client may set of a live session, by OpenAI's names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...domain.errors import InvalidParameterError
from ...domain.languages import normalise_language
from ...domain.options import TranscriptionRequest
from ...live.session import LiveFormat


class SessionField(BaseModel):
    """Fields that are not here are named among the warnings."""

    model_config = ConfigDict(extra="allow", frozen=True)


class AudioFormat(SessionField):
    """How the sound is encoded; pcmu and pcma have 8000 samples a second."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = Field(None, ge=8000, le=48000)


class TurnSettings(SessionField):
    """Where utterances end."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(0.5, gt=0, lt=1)
    prefix_padding_ms: int = Field(300, ge=0, le=5000)
    silence_duration_ms: int = Field(500, ge=100, le=10000)


class LiveTranscription(SessionField):
    """With what, and in which language."""

    model: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=40)
    languages: tuple[Annotated[str, Field(max_length=40)], ...] | None = Field(None, max_length=100)
    keywords: tuple[Annotated[str, Field(max_length=200)], ...] | None = Field(None, max_length=100)
    prompt: str | None = Field(None, max_length=4000)


class AudioInput(SessionField):
    """The sound that comes in."""

    format: AudioFormat | None = None
    transcription: LiveTranscription | None = None
    turn_detection: TurnSettings | None = None


class AudioPart(SessionField):
    """Of a transcription session, only input has an effect."""

    input: AudioInput = AudioInput()


class SessionUpdate(SessionField):
    """What session.update carries."""

    type: Literal["transcription"] = "transcription"
    audio: AudioPart = AudioPart()


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChange:
    """A session's new format and request; `ignored`: what was sent and has no effect."""

    format: LiveFormat
    request: TranscriptionRequest
    ignored: tuple[str, ...]


def changed_session(
    given: object, form: LiveFormat, request: TranscriptionRequest
) -> tuple[SessionChange, str | None]:
    """What a session becomes by this, and the model that was asked for. Raises InvalidParameterError."""
    try:
        update = SessionUpdate.model_validate(given)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(["session", *map(str, detail["loc"])])
        raise InvalidParameterError(place, detail["input"], detail["msg"].lower()) from None
    sent = update.audio.input
    if sent.format is not None:
        form = replace(form, kind=sent.format.type, rate=_rate(sent.format))
    if "turn_detection" in sent.model_fields_set:
        form = replace(form, turns=_turns(sent.turn_detection))
    if sent.transcription is not None:
        request = _with_options(request, sent.transcription)
    model = sent.transcription.model if sent.transcription is not None else None
    return SessionChange(format=form, request=request, ignored=tuple(_ignored(update))), model


def _rate(sent: AudioFormat) -> int:
    if sent.type == "audio/pcm":
        return sent.rate or 24_000
    if sent.rate not in (None, 8000):
        raise InvalidParameterError("session.audio.input.format.rate", sent.rate, "8000 for pcmu and pcma")
    return 8000


def _turns(sent: TurnSettings | None) -> dict[str, Any] | None:
    names = ("threshold", "prefix_padding_ms", "silence_duration_ms")
    return None if sent is None else {name: getattr(sent, name) for name in names}


def _with_options(request: TranscriptionRequest, sent: LiveTranscription) -> TranscriptionRequest:
    changed: dict[str, Any] = {}
    if "language" in sent.model_fields_set:
        changed["language"] = normalise_language(sent.language) if sent.language else None
    if sent.languages is not None:
        codes = [code for name in sent.languages if (code := normalise_language(name)) is not None]
        changed |= {"languages": tuple(codes)} if len(codes) != 1 else {"language": codes[0]}
    if sent.keywords is not None:
        changed["hotwords"] = ", ".join(sent.keywords) or None
    if "prompt" in sent.model_fields_set:
        changed["initial_prompt"] = sent.prompt or None
    return request.evolve(**changed)


def _ignored(part: BaseModel, place: str = "session") -> list[str]:
    """Fields that we do not know, unless they are empty."""
    unknown = [f"{place}.{name}" for name, value in (part.model_extra or {}).items() if value]
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            unknown += _ignored(value, f"{place}.{name}")
    if isinstance(part, TurnSettings) and part.type == "semantic_vad":
        unknown.append(f"{place}.type")
    return unknown
