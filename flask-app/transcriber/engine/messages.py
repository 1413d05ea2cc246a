"""Between the protocol's messages and the domain's values, on the parent's side."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..domain.answer import logprobs_from_list
from ..domain.errors import EngineFailedError, JobCancelledError
from ..domain.events import (
    BatchShrunk,
    EngineEvent,
    Finished,
    LanguageDetected,
    Planned,
    Resumption,
    SegmentReady,
    WindowDone,
)
from ..domain.options import TranscriptionOptions
from ..domain.ports import EngineInfo
from ..domain.selftest import SelfTestReport, Step
from ..domain.transcript import Notice, Segment, Word
from .protocol import Message

#: What a value of the wrong shape raises while it is taken apart.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)

#: No step of a self-test takes longer than a day.
_LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOrder:
    """One job for a child: its audio, what is wanted of it, and where it goes on."""

    pcm: Path
    samples: int
    pcm_channels: int
    options: TranscriptionOptions
    lane: str
    resumption: Resumption | None


def transcribe_message(job_id: str, order: JobOrder) -> Message:
    """The request for one job."""
    return {
        "type": "transcribe",
        "job_id": job_id,
        "pcm_path": str(order.pcm),
        "samples": order.samples,
        "pcm_channels": order.pcm_channels,
        "options": asdict(order.options),
        "lane": order.lane,
        "resumption": None if order.resumption is None else _resumption(order.resumption),
    }


def engine_info(message: Message, started_at: datetime, proven_at: datetime) -> EngineInfo:
    """What the child said of itself when it became ready. Raises one of MALFORMED."""
    return EngineInfo(
        pid=int(message["pid"]),
        device=str(message["device"]),
        device_index=int(message["device_index"]),
        device_name=_text_or_none(message["device_name"]),
        device_uuid=_text_or_none(message["device_uuid"]),
        model=str(message["model"]),
        compute_type=str(message["compute_type"]),
        requested_compute_type=str(message["requested_compute_type"]),
        supported_compute_types=tuple(map(str, message["supported_compute_types"])),
        started_at=started_at,
        load_seconds=float(message["load_seconds"]),
        warmup_seconds=float(message["warmup_seconds"]),
        warmup_device=str(message["warmup_device"]),
        selftest=selftest_report(message["selftest"]),
        proven_at=proven_at,
    )


def selftest_report(fields: dict[str, Any]) -> SelfTestReport:
    """What a child found when it tested itself. Raises one of MALFORMED."""
    return SelfTestReport(
        device=str(fields["device"]),
        compute_type=str(fields["compute_type"]),
        steps=tuple(_step(step) for step in fields["steps"]),
        seconds=_seconds(fields["seconds"]),
        run_seconds=None if fields["run_seconds"] is None else _seconds(fields["run_seconds"]),
        cold_seconds=None if fields["cold_seconds"] is None else _seconds(fields["cold_seconds"]),
    )


def event_or_error(message: Message) -> EngineEvent | None:
    """The message's event; raises what the message says went wrong: EngineFailedError, JobCancelledError."""
    try:
        if message["type"] == "cancelled":
            raise JobCancelledError()
        if message["type"] == "error":
            raise EngineFailedError(
                str(message["message"]), code=str(message["code"]), fix=str(message.get("fix", ""))
            )
        return engine_event(message)
    except MALFORMED as error:
        raise EngineFailedError(
            f"The engine child sent a message that can't be read: {error!r}.", code="engine_protocol_error"
        ) from error


def engine_event(message: Message) -> EngineEvent | None:
    """The event a message carries; None for a message that carries none.

    Raises one of MALFORMED, and EngineFailedError (numbers_not_finite) for text that rests on no numbers.
    """
    match message["type"]:
        case "language":
            return LanguageDetected(
                language=str(message["language"]),
                language_probability=_finite(message, "language_probability"),
                alternatives=tuple(
                    (str(name), float(share)) for name, share in message.get("alternatives", ())
                ),
            )
        case "plan":
            return _planned(message)
        case "window":
            history = message["history"]
            return WindowDone(
                index=int(message["index"]),
                device=str(message["device"]),
                history=None if history is None else tuple(int(token) for token in history),
                dropped=int(message.get("dropped", 0)),
            )
        case "batch_shrunk":
            return BatchShrunk(before=int(message["before"]), after=int(message["after"]))
        case "segment":
            return SegmentReady(segment=_segment(message["segment"]))
        case "done":
            return _finished(message)
        case _:
            return None


def batch_sizes(message: Message) -> tuple[int, ...]:
    """How many windows went through the model together, for each time; empty where it is not told."""
    sizes = message.get("sizes")
    return tuple(size for size in sizes if isinstance(size, int)) if isinstance(sizes, list) else ()


def _resumption(resumption: Resumption) -> Message:
    """Where the child goes on: counts and places, not the text that is done."""
    told = [segment for window in resumption.finished for segment in window.segments]
    return {
        "language": resumption.language,
        "language_probability": resumption.language_probability,
        "windows": len(resumption.finished),
        "segments": len(told),
        "last_ends": list({segment.channel: segment.end for segment in told}.items()),
        "history": resumption.history,
        "plan": _known_plan(resumption.plan),
    }


def _known_plan(plan: Planned | None) -> Message | None:
    """The plan, if the child can work by it: all windows, with the speech in them."""
    if (
        plan is None
        or not plan.is_complete
        or plan.first_index
        or not len(plan.windows) == len(plan.speech) == len(plan.faint) == len(plan.channels)
    ):
        return None
    return {
        "windows": plan.windows,
        "speech": plan.speech,
        "faint": plan.faint,
        "channels": plan.channels,
        "duration_after_vad": plan.duration_after_vad,
        "vad_seconds": plan.vad_seconds,
    }


def _planned(message: Message) -> Planned:
    return Planned(
        first_index=int(message["first_index"]),
        windows=_spans(message["windows"]),
        speech=tuple(_spans(chunks) for chunks in message["speech"]),
        faint=tuple(bool(each) for each in message.get("faint", [False] * len(message["windows"]))),
        channels=tuple(
            None if each is None else int(each)
            for each in message.get("channels", [None] * len(message["windows"]))
        ),
        is_complete=bool(message["is_complete"]),
        duration_after_vad=float(message["duration_after_vad"]),
        vad_seconds=float(message["vad_seconds"]),
    )


def _spans(pairs: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(start), int(end)) for start, end in pairs)


def _finished(message: Message) -> Finished:
    peak = message["pool_peak_bytes"]
    return Finished(
        vad_seconds=float(message["vad_seconds"]),
        language_detection_seconds=float(message["language_detection_seconds"]),
        transcription_seconds=float(message["transcription_seconds"]),
        pool_peak_bytes=None if peak is None else int(peak),
        notices=tuple(_notice(each) for each in message["notices"]),
    )


def _segment(fields: dict[str, Any]) -> Segment:
    words = fields["words"]
    return Segment(
        id=int(fields["id"]),
        seek=int(fields["seek"]),
        start=float(fields["start"]),
        end=float(fields["end"]),
        text=str(fields["text"]),
        tokens=tuple(int(token) for token in fields["tokens"]),
        avg_logprob=_finite(fields, "avg_logprob"),
        compression_ratio=_finite(fields, "compression_ratio"),
        no_speech_prob=_finite(fields, "no_speech_prob"),
        words=None if words is None else tuple(_word(word) for word in words),
        temperature=float(fields["temperature"]),
        logprobs=logprobs_from_list(fields.get("logprobs")),
        language=_text_or_none(fields.get("language")),
        channel=None if fields.get("channel") is None else int(fields["channel"]),
        suspect=tuple(map(str, fields.get("suspect", ()))),
    )


def _finite(fields: dict[str, Any], name: str) -> float:
    """A number that text rests on. A device that computes wrongly gives NaN, and no error."""
    value = float(fields[name])
    if math.isfinite(value):
        return value
    raise EngineFailedError(
        f"The device computed numbers that are not finite ({name} is {value}).",
        code="numbers_not_finite",
        fix="Use another compute type: float32 or int8_float32 in place of float16 (cards such as GTX 16xx need it).",
    )


def _word(fields: dict[str, Any]) -> Word:
    return Word(
        start=float(fields["start"]),
        end=float(fields["end"]),
        word=str(fields["word"]),
        probability=float(fields["probability"]),
    )


def _notice(fields: dict[str, Any]) -> Notice:
    return Notice(
        code=str(fields["code"]),
        message=str(fields["message"]),
        param=_text_or_none(fields.get("param")),
    )


def _step(fields: dict[str, Any]) -> Step:
    return Step(
        name=str(fields["name"]),
        outcome=str(fields["outcome"]),
        seconds=_seconds(fields["seconds"]),
        numbers={str(name): _plain(value) for name, value in dict(fields["numbers"]).items()},
        code=_text_or_none(fields["code"]),
        message=_text_or_none(fields["message"]),
        fix=_text_or_none(fields["fix"]),
    )


def _seconds(value: Any) -> float:
    """A time that later ones may be held against. Raises ValueError, TypeError for what is none."""
    seconds = float(value)
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"{value!r} seconds")
    return seconds


def _plain(value: Any) -> Any:
    """The same for JSON, which has no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
