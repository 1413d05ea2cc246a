"""What a live session says, in the shape of OpenAI's realtime events; `transcriber` holds what is our own."""

from __future__ import annotations

import secrets
from typing import Any

from ...domain.answer import fallback_to_dict
from ...domain.errors import TranscriberError
from ...domain.ports import SAMPLE_RATE
from ...live.events import (
    Cleared,
    Committed,
    Completed,
    Delta,
    Ended,
    Failed,
    LiveEvent,
    Problem,
    SpeechStarted,
    SpeechStopped,
)
from ...live.session import LiveSession
from ..openai_errors import openai_body

Json = dict[str, Any]

_BUFFER = "input_audio_buffer"
_TEXT = "conversation.item.input_audio_transcription"


def session_event(kind: str, session: LiveSession, own: Json) -> Json:
    """session.created or session.updated."""
    options, form = session.request.options, session.format
    turns = None if form.turns is None else {"type": "server_vad", **form.turns}
    described = {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session.id,
        "audio": {
            "input": {
                "format": {"type": form.kind, "rate": form.rate},
                "transcription": {
                    "model": session.request.model,
                    "language": options.language,
                    "prompt": options.initial_prompt,
                },
                "turn_detection": turns,
                "noise_reduction": None,
            }
        },
        "include": None,
        "transcriber": {"job_id": session.job_id, "received_bytes": session.received_bytes, **own},
    }
    return _event(kind, session=described)


def error_event(
    error: TranscriberError, kind: str = "invalid_request_error", event_id: str | None = None
) -> Json:
    """Something went wrong; the session goes on unless the socket closes."""
    return _event("error", error=openai_body(error, kind)["error"] | {"event_id": event_id})


def to_json(number: int, event: LiveEvent) -> Json | None:
    """One event, with its number in the session; None for the end, which is the socket's."""
    match event:
        case SpeechStarted():
            made = _event(f"{_BUFFER}.speech_started", item_id=event.item, audio_start_ms=_ms(event.sample))
        case SpeechStopped():
            made = _event(f"{_BUFFER}.speech_stopped", item_id=event.item, audio_end_ms=_ms(event.sample))
        case Committed():
            made = _event(f"{_BUFFER}.committed", item_id=event.item, previous_item_id=event.previous)
        case Cleared():
            made = _event(f"{_BUFFER}.cleared")
        case Delta():
            made = _event(f"{_TEXT}.delta", item_id=event.item, content_index=0, delta=event.text)
        case Completed():
            made = _completed(event)
        case Failed():
            error = openai_body(event.error, "server_error")["error"]
            made = _event(f"{_TEXT}.failed", item_id=event.item, content_index=0, error=error)
        case Problem():
            made = error_event(event.error)
        case Ended():
            return None
    return made | {"transcriber": made.get("transcriber", {}) | {"number": number}}


def _completed(event: Completed) -> Json:
    judged = event.utterance.judged
    return _event(
        f"{_TEXT}.completed",
        item_id=event.item,
        content_index=0,
        transcript=event.text,
        usage={"type": "duration", "seconds": round((event.end - event.start) / SAMPLE_RATE, 3)},
        transcriber={
            "gpu_used": judged.gpu_used,
            "device": judged.device,
            "compute_type": event.utterance.receipt.compute_type,
            "fallback_reason": judged.fallback_reason and fallback_to_dict(judged.fallback_reason),
            "language": event.utterance.language.language if event.utterance.language else None,
            "start": round(event.start / SAMPLE_RATE, 3),
            "end": round(event.end / SAMPLE_RATE, 3),
        },
    )


def _event(kind: str, **fields: Any) -> Json:
    return {"type": kind, "event_id": f"event_{secrets.token_hex(10)}", **fields}


def _ms(sample: int) -> int:
    return sample * 1000 // SAMPLE_RATE
