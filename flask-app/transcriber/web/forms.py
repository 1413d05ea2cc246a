"""The options of a transcription request: what each field takes, and what it becomes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..domain.errors import InvalidParameterError
from ..domain.jobs import JobStatus, Webhook
from ..domain.languages import normalise_language, normalise_languages
from ..domain.options import TranscriptionOptions, TranscriptionRequest
from ..webhooks.signing import check_secret
from ..webhooks.targets import BadUrlError, parse_target

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})

#: Unknown fields that are named in the warnings; a flood of them is cut here.
MAX_IGNORED = 20


def parse_flag(value: object) -> bool:
    """A boolean as forms, curl and programs spell it."""
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("neither true nor false")
    return word in _TRUE


Flag = Annotated[bool, BeforeValidator(parse_flag)]

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def parse_whole(value: object) -> str:
    """A whole number in plain digits; pydantic also takes 1_0 and 5.0."""
    if not _WHOLE.fullmatch(str(value)):
        raise ValueError("no whole number")
    return str(value)


def parse_decimal(value: object) -> str:
    """A decimal number; pydantic also takes 0_1."""
    if not _DECIMAL.fullmatch(str(value)):
        raise ValueError("no number")
    return str(value)


Whole = Annotated[int, BeforeValidator(parse_whole)]
Decimal = Annotated[float, BeforeValidator(parse_decimal)]


def parse_names(value: object) -> object:
    """Several names with commas between them."""
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


Names = Annotated[tuple[Annotated[str, Field(max_length=40)], ...], BeforeValidator(parse_names)]

_FLAG = "true or false (also 1/0, yes/no, on/off)"

MAX_SPEAKERS = 50
_SPEAKERS = f"a whole number from 1 to {MAX_SPEAKERS}"


class OptionsForm(BaseModel):
    """What every submission may say about the work, besides the file. None: the installation's default.

    Each description says what is allowed; the refusal of a wrong value quotes it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    use_gpu: Flag | None = Field(None, description=_FLAG)
    require_gpu: Flag = Field(False, description=_FLAG)
    model: str | None = Field(None, max_length=200, description="the name of a model on this machine")
    language: str | None = Field(None, max_length=40, description="auto, a language code, or an English name")
    languages: Names = Field(
        (), max_length=100, description="language codes or English names with commas between them"
    )
    multilingual: Flag = Field(False, description=_FLAG)
    task: Literal["transcribe", "translate"] = Field("transcribe", description="transcribe or translate")
    beam_size: Whole = Field(5, ge=1, le=10, description="a whole number from 1 to 10")
    temperature: Decimal | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1"
    )
    initial_prompt: str | None = Field(None, max_length=4000, description="text of up to 4000 characters")
    hotwords: str | None = Field(None, max_length=1000, description="text of up to 1000 characters")
    vad_filter: Flag | None = Field(None, description=_FLAG)
    word_timestamps: Flag = Field(False, description=_FLAG)
    condition_on_previous_text: Flag = Field(False, description=_FLAG)
    channels: Literal["mix", "left", "right", "split"] = Field("mix", description="mix, left, right or split")
    audio_track: Whole | None = Field(
        None, ge=0, le=999, description="the number of an audio track, a whole number from 0"
    )
    diarize: Flag = Field(False, description=_FLAG)
    num_speakers: Whole | None = Field(None, ge=1, le=MAX_SPEAKERS, description=_SPEAKERS)
    min_speakers: Whole | None = Field(None, ge=1, le=MAX_SPEAKERS, description=_SPEAKERS)
    max_speakers: Whole | None = Field(None, ge=1, le=MAX_SPEAKERS, description=_SPEAKERS)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of fields that came along and mean nothing here."""
        return tuple(name[:64] for name in sorted(self.model_extra or ())[:MAX_IGNORED])

    def to_request(self, *, model: str, use_gpu: bool, vad_filter: bool) -> TranscriptionRequest:
        """The request, with the installation's defaults where nothing was said."""
        least, most = self._speaker_limits()
        return TranscriptionRequest(
            model=self.model or model,
            use_gpu=self._wants_gpu(use_gpu),
            require_gpu=self.require_gpu,
            options=TranscriptionOptions(
                language=normalise_language(self.language),
                languages=self.candidates(),
                multilingual=self.multilingual,
                task=self.task,
                beam_size=self.beam_size,
                temperature=self.temperature,
                initial_prompt=self.initial_prompt,
                hotwords=self.hotwords,
                vad_filter=vad_filter if self.vad_filter is None else self.vad_filter,
                word_timestamps=self.word_timestamps,
                condition_on_previous_text=self.condition_on_previous_text,
                channels=self.channels,
                audio_track=self.audio_track,
                diarize=self.diarize,
                min_speakers=least,
                max_speakers=most,
            ),
            ignored=self._ignored(),
            asks_for_gpu=self.require_gpu or self.use_gpu is True,
        )

    def candidates(self) -> tuple[str, ...]:
        """The codes of `languages`. Raises InvalidParameterError."""
        return normalise_languages(self.languages)

    def _speaker_limits(self) -> tuple[int | None, int | None]:
        """How many speakers at least and at most; None where nothing is known, or speakers are not asked for."""
        least, most = self.min_speakers, self.max_speakers
        if self.num_speakers is not None:
            if (least or 1) > self.num_speakers or (most or MAX_SPEAKERS) < self.num_speakers:
                raise InvalidParameterError(
                    "num_speakers", self.num_speakers, "a number from min_speakers to max_speakers"
                )
            least = most = self.num_speakers
        if least is not None and most is not None and least > most:
            raise InvalidParameterError("min_speakers", least, f"at most max_speakers, {most}")
        return (least, most) if self.diarize else (None, None)

    def _ignored(self) -> tuple[str, ...]:
        """What has no effect: unknown fields, and a number of speakers where speakers aren't separated."""
        numbers = () if self.diarize else ("num_speakers", "min_speakers", "max_speakers")
        return (*(name for name in numbers if getattr(self, name) is not None), *self.ignored)

    def _wants_gpu(self, default: bool) -> bool:
        """Who requires the GPU wants it; who refuses and requires it at once contradicts himself."""
        if self.require_gpu and self.use_gpu is False:
            raise InvalidParameterError("require_gpu", True, "false when use_gpu is false")
        return self.require_gpu or (default if self.use_gpu is None else self.use_gpu)


class TranscriptionForm(OptionsForm):
    """Fields of POST /transcribe besides the file."""

    response_format: Literal["json", "verbose_json", "text", "srt", "vtt", "tsv"] | None = Field(
        None, description="json, verbose_json, text, srt, vtt or tsv"
    )
    detach: Flag = Field(False, description=_FLAG)


class JobForm(OptionsForm):
    """Fields of POST /jobs besides the file."""

    upload: str | None = Field(
        None, max_length=80, description="the id of an upload that has arrived as a whole, in place of a file"
    )
    url: str | None = Field(
        None,
        max_length=2048,
        description="the http or https URL of a media file of up to 2048 characters, in place of a file",
    )
    priority: Whole = Field(0, ge=-100, le=100, description="a whole number from -100 to 100")
    webhook_url: str | None = Field(
        None, max_length=2048, description="an http or https URL of up to 2048 characters"
    )
    webhook_secret: str | None = Field(
        None,
        max_length=200,
        description="whsec_ and the base64 of 24 to 64 bytes, or another text of 16 to 128 characters",
    )

    @property
    def webhook(self) -> Webhook | None:
        """The webhook. Raises InvalidParameterError for an address or secret that can't be used."""
        if self.webhook_url is None:
            if self.webhook_secret is not None:
                raise InvalidParameterError("webhook_secret", "a secret", "left out where webhook_url is")
            return None
        try:
            parse_target(self.webhook_url)
        except BadUrlError as error:
            raise InvalidParameterError("webhook_url", self.webhook_url, str(error)) from None
        if self.webhook_secret is not None:
            check_secret(self.webhook_secret)
        return Webhook(url=self.webhook_url, secret=self.webhook_secret or "")


class RetryForm(OptionsForm):
    """What POST /jobs/{id}/retry may change. What is not named stays as it was."""

    @classmethod
    def names_any(cls, given: Mapping[str, str]) -> bool:
        """Whether anything is to be changed."""
        return any(name in cls.model_fields and value.strip() for name, value in given.items())


def fields_of(request: TranscriptionRequest) -> dict[str, str]:
    """A request as the fields of a form that would make it."""
    flags = {"use_gpu": request.use_gpu, "require_gpu": request.require_gpu}
    values = {"model": request.model, **flags, **dataclasses.asdict(request.options)}
    return {
        name: _field(value)
        for name, value in values.items()
        if value is not None and name in OptionsForm.model_fields
    }


def fieldless_options(request: TranscriptionRequest) -> dict[str, Any]:
    """The options of a request that no field of ours sets; OpenAI's do."""
    options = request.options
    return {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in OptionsForm.model_fields
    }


def _field(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


class JobsQuery(BaseModel):
    """What GET /jobs takes: which jobs, and which page of them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: tuple[JobStatus, ...] = Field(
        (), description="queued, running, succeeded, failed or cancelled; several by comma or repeated"
    )
    before: Whole | None = Field(
        None, ge=1, le=2**62, description="the next_before of the page before, a whole number from 1"
    )
    limit: Whole = Field(50, ge=1, le=200, description="a whole number from 1 to 200")
    q: str = Field(
        "", max_length=500, description="up to 500 characters: words of the transcript, or a part of the name"
    )


Form = TypeVar("Form", bound=OptionsForm)


def parse_form(*sources: Mapping[str, str]) -> TranscriptionForm:
    """The form of POST /transcribe (see parse_fields)."""
    return parse_fields(TranscriptionForm, *sources)


def parse_fields(kind: type[Form], *sources: Mapping[str, str]) -> Form:
    """The form from these sources, later ones first in rank. Raises InvalidParameterError.

    An empty value is the same as none: HTML forms send every field they have.
    """
    given = {name: value.strip() for source in sources for name, value in source.items() if value.strip()}
    return _validated(kind, given)


def parse_jobs_query(statuses: list[str], fields: Mapping[str, str]) -> JobsQuery:
    """The query of GET /jobs; statuses come repeated or with commas. Raises InvalidParameterError."""
    words = [word.strip() for text in statuses for word in text.split(",")]
    given: dict[str, object] = {name: value for name, value in fields.items() if value.strip()}
    return _validated(JobsQuery, given | {"status": tuple(word for word in words if word)})


Model = TypeVar("Model", bound=BaseModel)


def parse_query(kind: type[Model], fields: Mapping[str, str]) -> Model:
    """The query of a route; an empty value is the same as none. Raises InvalidParameterError."""
    return _validated(kind, {name: value.strip() for name, value in fields.items() if value.strip()})


def parse_values(kind: type[Model], values: Mapping[str, object]) -> Model:
    """The form of values that need not be texts, as JSON has them. Raises InvalidParameterError."""
    return _validated(kind, values)


def _validated(kind: type[Model], given: Mapping[str, object]) -> Model:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _refusal(kind, error.errors(include_url=False, include_context=False)[0]) from None


def _refusal(kind: type[BaseModel], detail: Any) -> InvalidParameterError:
    name = str(detail["loc"][0])
    allowed = kind.model_fields[name].description or "another value"
    given = "a secret" if name == "webhook_secret" else detail["input"]
    return InvalidParameterError(name, given, allowed)
