"""The options of a transcription request: what each field takes, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..domain.errors import InvalidParameterError
from ..domain.languages import normalise_language
from ..domain.options import TranscriptionOptions, TranscriptionRequest

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

_FLAG = "true or false (also 1/0, yes/no, on/off)"


class TranscriptionForm(BaseModel):
    """Fields of POST /transcribe besides the file. None: the installation's default.

    Each description says what is allowed; the refusal of a wrong value quotes it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    use_gpu: Flag | None = Field(None, description=_FLAG)
    require_gpu: Flag = Field(False, description=_FLAG)
    model: str | None = Field(None, max_length=200, description="the name of a model on this machine")
    language: str | None = Field(None, max_length=40, description="auto, a language code, or an English name")
    task: Literal["transcribe", "translate"] = Field("transcribe", description="transcribe or translate")
    beam_size: int = Field(5, ge=1, le=10, description="a whole number from 1 to 10")
    temperature: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1"
    )
    initial_prompt: str | None = Field(None, max_length=4000, description="text of up to 4000 characters")
    hotwords: str | None = Field(None, max_length=1000, description="text of up to 1000 characters")
    vad_filter: Flag | None = Field(None, description=_FLAG)
    word_timestamps: Flag = Field(False, description=_FLAG)
    condition_on_previous_text: Flag = Field(False, description=_FLAG)
    response_format: Literal["json", "verbose_json", "text", "srt", "vtt", "tsv"] | None = Field(
        None, description="json, verbose_json, text, srt, vtt or tsv"
    )

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of fields that came along and mean nothing here."""
        return tuple(name[:64] for name in sorted(self.model_extra or ())[:MAX_IGNORED])

    def to_request(self, *, model: str, use_gpu: bool, vad_filter: bool) -> TranscriptionRequest:
        """The request, with the installation's defaults where nothing was said."""
        return TranscriptionRequest(
            model=self.model or model,
            use_gpu=self._wants_gpu(use_gpu),
            require_gpu=self.require_gpu,
            options=TranscriptionOptions(
                language=normalise_language(self.language),
                task=self.task,
                beam_size=self.beam_size,
                temperature=self.temperature,
                initial_prompt=self.initial_prompt,
                hotwords=self.hotwords,
                vad_filter=vad_filter if self.vad_filter is None else self.vad_filter,
                word_timestamps=self.word_timestamps,
                condition_on_previous_text=self.condition_on_previous_text,
            ),
            ignored=self.ignored,
        )

    def _wants_gpu(self, default: bool) -> bool:
        """Who requires the GPU wants it; who refuses and requires it at once contradicts himself."""
        if self.require_gpu and self.use_gpu is False:
            raise InvalidParameterError("require_gpu", True, "false when use_gpu is false")
        return self.require_gpu or (default if self.use_gpu is None else self.use_gpu)


def parse_form(*sources: Mapping[str, str]) -> TranscriptionForm:
    """The form from these sources, later ones first in rank. Raises InvalidParameterError.

    An empty value is the same as none: HTML forms send every field they have.
    """
    given = {name: value.strip() for source in sources for name, value in source.items() if value.strip()}
    try:
        return TranscriptionForm.model_validate(given)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_context=False)[0]) from None


def _refusal(detail: Any) -> InvalidParameterError:
    name = str(detail["loc"][0])
    allowed = TranscriptionForm.model_fields[name].description or "another value"
    return InvalidParameterError(name, detail["input"], allowed)
