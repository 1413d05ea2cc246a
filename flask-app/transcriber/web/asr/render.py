"""A transcription as whisper-asr-webservice writes it: plain text whatever the output is."""

from __future__ import annotations

import json
from typing import Any

from ...domain.answer import fallback_to_dict, rounded, segment_to_dict
from ...domain.transcript import Segment, Transcription
from ...formats.cues import plain
from ...formats.table import FORMATS

Json = dict[str, Any]


def rendered(transcription: Transcription, output: str) -> str:
    """The body of POST /asr."""
    if output == "json":
        return json.dumps(_json_answer(transcription), ensure_ascii=False, allow_nan=False)
    if output == "txt":
        return "".join(f"{plain(segment.text.strip())}\n" for segment in transcription.segments)
    return FORMATS[output].render(transcription)


def _json_answer(transcription: Transcription) -> Json:
    return {
        "language": transcription.language,
        "segments": [_segment(segment) for segment in transcription.segments],
        "text": transcription.text,
        "language_probability": rounded(transcription.language_probability, 4),
        "gpu_used": transcription.gpu_used,
        "device": transcription.device,
        "compute_type": transcription.compute_type,
        "fallback_reason": fallback_to_dict(transcription.fallback_reason),
    }


def _segment(segment: Segment) -> Json:
    """As our own answer has it, but `words` is null where none were asked for."""
    return segment_to_dict(segment) | ({"words": None} if segment.words is None else {})
