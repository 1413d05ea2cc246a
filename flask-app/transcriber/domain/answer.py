"""The answer to a request as plain data: what the API sends and what the results folder keeps.

Times have three decimals, other numbers four to six; a number that is not finite becomes null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from .transcript import (
    Corroboration,
    DiarizationReceipt,
    EngineShare,
    FallbackReason,
    MemoryStep,
    Notice,
    Receipt,
    Requested,
    Segment,
    Speaker,
    SpeakerTurn,
    Timings,
    TokenLogprob,
    Transcription,
    Word,
)

Json = dict[str, Any]

T = TypeVar("T")

#: Fields of a segment that are left out where they say nothing.
_WHERE_KNOWN = ("language", "channel", "speaker")


def transcription_to_dict(transcription: Transcription) -> Json:
    """The whole answer (DESIGN §3), safe for JSON. `words` is an empty list where none were asked for."""
    t = transcription
    return {
        "job_id": t.job_id,
        "text": t.text,
        "language": t.language,
        "language_probability": rounded(t.language_probability, 4),
        "duration": rounded(t.duration, 3),
        "segments": [segment_to_dict(segment) for segment in t.segments],
        "model": t.model,
        "task": t.task,
        "gpu_used": t.gpu_used,
        "device": t.device,
        "compute_type": t.compute_type,
        "requested": asdict(t.requested),
        "fallback_reason": fallback_to_dict(t.fallback_reason),
        "receipt": asdict(t.receipt),
        "timings": {stage: rounded(seconds, 3) for stage, seconds in asdict(t.timings).items()},
        "rtfx": rounded(t.rtfx, 3),
        "warnings": notices_to_list(t.warnings),
        "media": _json_safe(t.media),
        "speakers": speakers_to_list(t.speakers),
        "speaker_turns": [
            asdict(turn) | {"start": rounded(turn.start, 3), "end": rounded(turn.end, 3)}
            for turn in t.speaker_turns
        ],
    }


def transcription_from_dict(data: Mapping[str, Any]) -> Transcription:
    """What transcription_to_dict wrote. Raises ValueError when a field is missing or of the wrong kind."""
    try:
        return _transcription(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a transcription: {error!r}") from error


def transcription_to_stored(transcription: Transcription) -> str:
    """What the results folder keeps, as one line: the answer, and what only our own pages show."""
    data = transcription_to_dict(transcription) | {"peaks": transcription.peaks}
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def transcription_to_json(transcription: Transcription) -> str:
    """The answer as one line of JSON, with its newline."""
    data = transcription_to_dict(transcription)
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def rounded(value: float, digits: int) -> float | None:
    """The number with this many decimals; None when it is not finite."""
    return round(value, digits) if math.isfinite(value) else None


def fallback_to_dict(reason: FallbackReason | None) -> Json | None:
    """The reason as the answer shows it; None when the GPU did what was asked."""
    return None if reason is None else asdict(reason)


def notices_to_list(notices: Sequence[Notice]) -> list[Json]:
    """Warnings as the answer shows them."""
    return [asdict(notice) for notice in notices]


def speakers_to_list(speakers: Sequence[Speaker]) -> list[Json]:
    """Speakers as the answer shows them."""
    return [asdict(speaker) | {"seconds": rounded(speaker.seconds, 3)} for speaker in speakers]


def word_to_dict(word: Word) -> Json:
    """One word with its times."""
    return {
        "start": rounded(word.start, 3),
        "end": rounded(word.end, 3),
        "word": word.word,
        "probability": rounded(word.probability, 4),
        **({} if word.speaker is None else {"speaker": word.speaker}),
    }


def segment_to_dict(segment: Segment) -> Json:
    """One segment with its words; `logprobs` only where they were asked for, `suspect` only where it is."""
    found: Json = {
        "id": segment.id,
        "seek": segment.seek,
        "start": rounded(segment.start, 3),
        "end": rounded(segment.end, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "avg_logprob": rounded(segment.avg_logprob, 4),
        "compression_ratio": rounded(segment.compression_ratio, 4),
        "no_speech_prob": rounded(segment.no_speech_prob, 6),
        "temperature": rounded(segment.temperature, 2),
        "words": [word_to_dict(word) for word in segment.words or ()],
        **{name: value for name in _WHERE_KNOWN if (value := getattr(segment, name)) is not None},
    }
    if segment.suspect:
        found["suspect"] = list(segment.suspect)
    if segment.logprobs is not None:
        found["logprobs"] = [logprob_to_dict(token) for token in segment.logprobs]
    return found


def logprob_to_dict(token: TokenLogprob) -> Json:
    """One token of the text, as OpenAI's clients read it."""
    return {"token": token.token, "bytes": list(token.bytes), "logprob": rounded(token.logprob, 6)}


def segment_from_dict(data: Mapping[str, Any]) -> Segment:
    """What segment_to_dict wrote. Raises ValueError. `has_words` distinguishes an empty list of words from none."""
    try:
        segment = _segment(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a segment: {error!r}") from error
    return replace(segment, words=()) if data.get("has_words") and segment.words is None else segment


def _json_safe(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_safe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(part) for part in value]
    if isinstance(value, float):
        return rounded(value, 6)
    return value if isinstance(value, str | int | None) else str(value)


def _transcription(data: Mapping[str, Any]) -> Transcription:
    reason = data["fallback_reason"]
    return Transcription(
        job_id=_text(data["job_id"]),
        text=_text(data["text"]),
        language=_text(data["language"]),
        language_probability=_number(data["language_probability"]),
        duration=_number(data["duration"]),
        segments=tuple(_segment(segment) for segment in data["segments"]),
        model=_text(data["model"]),
        task=_text(data["task"]),
        gpu_used=_truth(data["gpu_used"]),
        device=_text(data["device"]),
        compute_type=_text(data["compute_type"]),
        requested=Requested(**data["requested"]),
        fallback_reason=None if reason is None else FallbackReason(**reason),
        receipt=_receipt(data["receipt"]),
        timings=Timings(**{stage: _number(seconds) for stage, seconds in data["timings"].items()}),
        rtfx=_number(data["rtfx"]),
        warnings=tuple(Notice(**notice) for notice in data["warnings"]),
        media=dict(data["media"]),
        speakers=tuple(Speaker(**speaker) for speaker in data.get("speakers", ())),
        speaker_turns=tuple(SpeakerTurn(**turn) for turn in data.get("speaker_turns", ())),
        peaks=_text(data.get("peaks", "")),
    )


def _receipt(data: Mapping[str, Any]) -> Receipt:
    """A receipt; those of older versions lack the later fields, those of newer ones have more."""
    nvml = data.get("nvml")
    steps = tuple(MemoryStep(**step) for step in data.get("steps", ()))
    engines = tuple(engine_share_from_dict(share) for share in data.get("engines", ()))
    word = None if nvml is None else Corroboration(**nvml)
    told = data.get("diarization")
    diarization = None if told is None else DiarizationReceipt(**told)
    return _from_known(
        Receipt, {**data, "nvml": word, "steps": steps, "engines": engines, "diarization": diarization}
    )


def engine_share_from_dict(data: Mapping[str, Any]) -> EngineShare:
    """An engine's share, as a receipt or a journal has it; from a newer version only what this one knows."""
    return _from_known(EngineShare, data)


def _from_known(kind: type[T], data: Mapping[str, Any]) -> T:
    """Nodes of a fleet may be of two versions: fields that this one doesn't know are left out."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in names})


def _segment(data: Mapping[str, Any]) -> Segment:
    return Segment(
        id=data["id"],
        seek=data["seek"],
        start=_number(data["start"]),
        end=_number(data["end"]),
        text=_text(data["text"]),
        tokens=tuple(data["tokens"]),
        avg_logprob=_number(data["avg_logprob"]),
        compression_ratio=_number(data["compression_ratio"]),
        no_speech_prob=_number(data["no_speech_prob"]),
        temperature=_number(data["temperature"]),
        words=tuple(_word(word) for word in data["words"]) or None,
        language=data.get("language"),
        channel=data.get("channel"),
        suspect=tuple(map(_text, data.get("suspect", ()))),
        speaker=_text_or_none(data.get("speaker")),
        logprobs=logprobs_from_list(data.get("logprobs")),
    )


def logprobs_from_list(data: Sequence[Mapping[str, Any]] | None) -> tuple[TokenLogprob, ...] | None:
    """The tokens of a segment as they were written; None where none were."""
    if data is None:
        return None
    return tuple(
        TokenLogprob(token=_text(one["token"]), bytes=tuple(one["bytes"]), logprob=_number(one["logprob"]))
        for one in data
    )


def _word(data: Mapping[str, Any]) -> Word:
    return Word(
        start=_number(data["start"]),
        end=_number(data["end"]),
        word=_text(data["word"]),
        probability=_number(data["probability"]),
        speaker=_text_or_none(data.get("speaker")),
    )


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value
