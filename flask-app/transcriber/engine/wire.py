"""Between the protocol's messages and the domain's values, on the parent's side."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from ..domain.events import EngineEvent, Finished, LanguageDetected, Planned, SegmentReady, WindowDone
from ..domain.options import TranscriptionOptions
from ..domain.ports import EngineInfo
from ..domain.transcript import Notice, Segment, Word
from .protocol import Message

#: What a value of the wrong shape raises while it is taken apart.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


def transcribe_message(job_id: str, pcm: Path, samples: int, options: TranscriptionOptions) -> Message:
    """The request for one job."""
    return {
        "type": "transcribe",
        "job_id": job_id,
        "pcm_path": str(pcm),
        "samples": samples,
        "options": asdict(options),
    }


def engine_info(message: Message, started_at: datetime) -> EngineInfo:
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
    )


def engine_event(message: Message) -> EngineEvent | None:
    """The event a message carries; None for a message that carries none. Raises one of MALFORMED."""
    match message["type"]:
        case "language":
            return LanguageDetected(
                language=str(message["language"]), language_probability=float(message["language_probability"])
            )
        case "plan":
            return Planned(
                windows_total=int(message["windows_total"]),
                duration_after_vad=float(message["duration_after_vad"]),
            )
        case "window":
            return WindowDone(index=int(message["index"]), device=str(message["device"]))
        case "segment":
            return SegmentReady(segment=_segment(message["segment"]))
        case "done":
            return _finished(message)
        case _:
            return None


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
        avg_logprob=float(fields["avg_logprob"]),
        compression_ratio=float(fields["compression_ratio"]),
        no_speech_prob=float(fields["no_speech_prob"]),
        words=None if words is None else tuple(_word(word) for word in words),
        temperature=float(fields["temperature"]),
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


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
