"""The fields of OpenAI's audio routes: what each takes, and what it becomes here.

Every field of the specification is honoured, mapped to an option of ours, or named in the answer's warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import from_json

from ...domain.errors import InvalidParameterError
from ...domain.languages import normalise_language
from ...domain.options import TranscriptionRequest, VadParameters
from ...domain.transcript import Notice
from ...service.diarization import REFERENCES
from ..forms import Decimal, Flag, OptionsForm, Whole, parse_values
from .references import MOST_REFERENCES

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]

#: What a stream's events can't show: their form is OpenAI's own.
_NOT_STREAMED = ("srt", "vtt")

_MAX_KEYWORDS = 100


class ServerVad(BaseModel):
    """`chunking_strategy` as an object: where the speech detector finds the ends of speech."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["server_vad", "auto"] = Field("server_vad", description="server_vad")
    threshold: Decimal | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1"
    )
    prefix_padding_ms: Whole | None = Field(
        None, ge=0, le=10_000, description="a whole number from 0 to 10000"
    )
    silence_duration_ms: Whole | None = Field(
        None, ge=0, le=10_000, description="a whole number from 0 to 10000"
    )


def parse_chunking(value: object) -> object:
    """`auto`, an object, or an object as JSON text."""
    if isinstance(value, str):
        if value.strip() in ("auto", "server_vad"):
            return {"type": value.strip()}
        try:
            value = from_json(value)
        except ValueError:
            raise ValueError("neither auto nor an object") from None
    if not isinstance(value, Mapping):
        raise ValueError("neither auto nor an object")
    return dict(value)


class SpeechForm(OptionsForm):
    """Fields of POST /v1/audio/transcriptions besides the file: OpenAI's, and every option of ours."""

    prompt: str | None = Field(None, max_length=4000, description="text of up to 4000 characters")
    response_format: ResponseFormat = Field(
        "json", description="json, text, srt, verbose_json, vtt or diarized_json"
    )
    languages: tuple[Annotated[str, Field(max_length=40)], ...] = Field(
        (), max_length=100, description="language codes or English names"
    )
    keywords: tuple[Annotated[str, Field(max_length=200)], ...] = Field(
        (), max_length=_MAX_KEYWORDS, description=f"up to {_MAX_KEYWORDS} words or names"
    )
    include: tuple[Literal["logprobs"], ...] = Field((), max_length=10, description="logprobs")
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = Field(
        (), max_length=10, description="word, segment, or both"
    )
    stream: Flag = Field(False, description="true or false (also 1/0, yes/no, on/off)")
    # A form has no objects: there it is `chunking_strategy[type]` and so on, or JSON as text.
    chunking_strategy: (
        Annotated[ServerVad, BeforeValidator(parse_chunking), WithJsonSchema({"type": "string"})] | None
    ) = Field(None, description="auto, or an object with type=server_vad")
    known_speaker_names: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (), max_length=MOST_REFERENCES, description=f"up to {MOST_REFERENCES} names"
    )
    known_speaker_references: tuple[str, ...] = Field(
        (),
        max_length=MOST_REFERENCES,
        description=f"up to {MOST_REFERENCES} data URLs, each of a recording of 2 to 10 seconds",
    )

    @property
    def wants_speakers(self) -> bool:
        return self.diarize or self.response_format == "diarized_json"

    @property
    def wants_words(self) -> bool:
        return "word" in self.timestamp_granularities and self.response_format == "verbose_json"

    @property
    def wants_logprobs(self) -> bool:
        return "logprobs" in self.include and self.response_format == "json"

    @property
    def ignored(self) -> tuple[str, ...]:
        """Fields that came along and have no effect, each under the name that the specification gives it."""
        return (*super().ignored, *(name for name, is_so in self._without_effect() if is_so))

    def to_request(self, *, model: str, use_gpu: bool, vad_filter: bool) -> TranscriptionRequest:
        """The request, by our own names."""
        candidates = self.candidates()
        mapped = self.model_copy(
            update={
                "language": candidates[0] if len(candidates) == 1 else self.language,
                "temperature": self.temperature or None,  # 0 asks for OpenAI's ladder, too
                "initial_prompt": self.prompt or self.initial_prompt,
                "hotwords": ", ".join((*filter(None, [self.hotwords]), *self.keywords)) or None,
                "vad_filter": True if self.chunking_strategy is not None else self.vad_filter,
                "word_timestamps": self.word_timestamps or self.wants_words,
                "diarize": self.wants_speakers,
            }
        )
        request = OptionsForm.to_request(mapped, model=model, use_gpu=use_gpu, vad_filter=vad_filter)
        return request.evolve(
            languages=candidates if len(candidates) > 1 else (),
            token_logprobs=self.wants_logprobs,
            vad_parameters=self._vad_parameters(),
            known_speakers=self.known_speaker_names if self.wants_speakers else (),
        )

    def notices(self, model: str) -> tuple[Notice, ...]:
        """What the answer says of this form besides the fields that were ignored; `model` is the one that ran."""
        if self.model is None or self.model == model:
            return ()
        message = f"{self.model} is a name for the model {model} here."
        return (Notice(code="model_alias", message=message, param="model"),)

    def candidates(self) -> tuple[str, ...]:
        """Codes of `languages[]`; none where `language` says which it is."""
        if self.language is not None:
            return ()
        found = []
        for name in self.languages:
            try:
                code = normalise_language(name)
            except InvalidParameterError as error:
                raise InvalidParameterError("languages[]", name, error.allowed) from None
            if code is not None:
                found.append(code)
        return tuple(dict.fromkeys(found))

    def _vad_parameters(self) -> VadParameters | None:
        asked = self.chunking_strategy
        if asked is None or asked.type == "auto":
            return None
        return VadParameters(
            threshold=asked.threshold,
            speech_pad_ms=asked.prefix_padding_ms,
            min_silence_duration_ms=asked.silence_duration_ms,
        )

    def _without_effect(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("languages[]", bool(self.languages) and self.language is not None),
            ("include[]", "logprobs" in self.include and not self.wants_logprobs),
            (
                "timestamp_granularities[]",
                bool(self.timestamp_granularities) and self.response_format != "verbose_json",
            ),
            ("response_format", self.stream and self.response_format in _NOT_STREAMED),
            ("known_speaker_names[]", bool(self.known_speaker_names) and not self.wants_speakers),
            (REFERENCES, bool(self.known_speaker_references) and not self.wants_speakers),
            *(
                (f"chunking_strategy[{name[:40]}]", True)
                for name in sorted((self.chunking_strategy and self.chunking_strategy.model_extra) or ())
            ),
        )


class TranslationForm(SpeechForm):
    """Fields of POST /v1/audio/translations besides the file: always a translation into English."""

    task: Literal["translate"] = Field("translate", description="translate")


def parse_speech(kind: type[SpeechForm], fields: Mapping[str, Any]) -> SpeechForm:
    """The form of these fields. Raises InvalidParameterError, also for fields that contradict one another."""
    form = parse_values(kind, fields)
    names, references = len(form.known_speaker_names), len(form.known_speaker_references)
    if form.wants_speakers and names != references:
        raise InvalidParameterError(
            REFERENCES,
            f"{references} recordings",
            f"as many recordings as known_speaker_names[] has names, which is {names}",
            fix="Send one recording for each name, in the same order.",
        )
    if form.response_format == "diarized_json" and form.channels == "split":
        raise InvalidParameterError(
            "channels", "split", "mix, left or right with response_format=diarized_json"
        )
    return form
