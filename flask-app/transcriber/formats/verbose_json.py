"""OpenAI's verbose_json, with the facts about the device beside it."""

from __future__ import annotations

import json
import math
from typing import Any

from ..domain.answer import fallback_to_dict, notices_to_list, rounded, speakers_to_list
from ..domain.languages import language_name
from ..domain.transcript import Segment, Transcription, Word


def render_verbose_json(transcription: Transcription) -> str:
    """One line of JSON, with its newline."""
    return json.dumps(verbose_answer(transcription), ensure_ascii=False, allow_nan=False) + "\n"


def verbose_answer(transcription: Transcription) -> dict[str, Any]:
    """The answer as OpenAI's clients read it; `words` only where word timestamps were asked for."""
    t = transcription
    answer: dict[str, Any] = {
        "task": t.task,
        "language": language_name(t.language),
        "language_code": t.language,
        "duration": _number(t.duration, 3),
        "text": t.text,
        "segments": [_segment(segment) for segment in t.segments],
    }
    if any(segment.words is not None for segment in t.segments):
        answer["words"] = [verbose_word(word) for segment in t.segments for word in segment.words or ()]
    if t.speakers:
        answer["speakers"] = speakers_to_list(t.speakers)
    return answer | {
        "usage": {"type": "duration", "seconds": math.ceil(_number(t.duration, 3))},
        "gpu_used": t.gpu_used,
        "device": t.device,
        "compute_type": t.compute_type,
        "fallback_reason": fallback_to_dict(t.fallback_reason),
        "warnings": notices_to_list(t.warnings),
    }


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "seek": segment.seek,
        "start": _number(segment.start, 3),
        "end": _number(segment.end, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": _number(segment.temperature, 2),
        "avg_logprob": _number(segment.avg_logprob, 4),
        "compression_ratio": _number(segment.compression_ratio, 4),
        "no_speech_prob": _number(segment.no_speech_prob, 6),
        **_speaker(segment.speaker),
        **({} if segment.language is None else {"language": segment.language}),
        **({} if segment.channel is None else {"channel": segment.channel}),
    }


def verbose_word(word: Word) -> dict[str, Any]:
    """A word with its times."""
    return {
        "word": word.word.strip(),
        "start": _number(word.start, 3),
        "end": _number(word.end, 3),
        **_speaker(word.speaker),
    }


def _speaker(speaker: str | None) -> dict[str, str]:
    """Beside OpenAI's fields where speakers were separated; their own shape is as it is elsewhere."""
    return {} if speaker is None else {"speaker": speaker}


def _number(value: float, digits: int) -> float:
    """Always a number, since typed clients stumble over null."""
    return rounded(value, digits) or 0.0
