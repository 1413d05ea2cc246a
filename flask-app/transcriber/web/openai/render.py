"""A finished transcription in OpenAI's shapes, with the device facts beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flask import Response, jsonify

from ...domain.answer import fallback_to_dict, notices_to_list, rounded
from ...domain.errors import DiarizationError
from ...domain.languages import language_name
from ...domain.transcript import Segment, Speaker, TokenLogprob, Transcription
from ...formats.table import FORMATS
from ...formats.verbose_json import verbose_answer, verbose_word
from ..transcripts.downloads import set_facts
from .forms import SpeechForm

Json = dict[str, Any]

#: Positions of Whisper's encoder for a second of audio: what stands for audio tokens in `usage`.
AUDIO_TOKENS_PER_SECOND = 50

#: The speaker of what was heard where no voice was found.
UNKNOWN_SPEAKER = "unknown"


def answer(transcription: Transcription, form: SpeechForm) -> Response:
    """The answer in the format that was asked for."""
    match form.response_format:
        case "json":
            response = jsonify(json_answer(transcription, form))
        case "verbose_json":
            response = jsonify(verbose_json_answer(transcription, form))
        case "diarized_json":
            response = jsonify(diarized_json_answer(transcription))
        case plain:
            row = FORMATS[plain]
            response = Response(row.render(transcription), content_type=row.content_type)
    return set_facts(response, transcription)


def json_answer(transcription: Transcription, form: SpeechForm) -> Json:
    """`json`: the text, the language, what it cost, and where it ran."""
    found: Json = {
        "text": transcription.text,
        "languages": _languages(transcription),
        "usage": {"type": "duration", "seconds": _seconds(transcription)},
    }
    if form.wants_logprobs:
        found["logprobs"] = logprobs_of(transcription.segments)
    return found | facts(transcription)


def verbose_json_answer(transcription: Transcription, form: SpeechForm) -> Json:
    """`verbose_json`: segments unless words alone were asked for, words where they were."""
    found = verbose_answer(transcription) | {"job_id": transcription.job_id}
    found.pop("words", None)
    if transcription.task == "translate":
        # The specification: the language of the output.
        found |= {"language": "english", "language_code": "en"}
        found["source_language"] = language_name(transcription.language)
    if form.timestamp_granularities == ("word",):
        del found["segments"]
    if form.wants_words or form.word_timestamps:
        segments = transcription.segments
        found["words"] = [verbose_word(word) for segment in segments for word in segment.words or ()]
    return found


def diarized_json_answer(transcription: Transcription) -> Json:
    """`diarized_json`: what each speaker says. Raises DiarizationError."""
    return {
        "task": transcription.task,
        "text": transcription.text,
        "segments": segment_events(transcription),
        "usage": {"type": "duration", "seconds": _seconds(transcription)},
    } | facts(transcription)


def last_events(transcription: Transcription, form: SpeechForm) -> list[Json]:
    """What ends a stream: with diarized_json each segment with its speaker, then the whole text. Raises DiarizationError.

    Speakers are known when all has been heard, so that the text itself comes before them, as deltas.
    """
    segments = segment_events(transcription) if form.response_format == "diarized_json" else []
    return [*segments, done_event(transcription, form)]


def segment_events(transcription: Transcription) -> list[Json]:
    """Segments of one speaker each, as diarized_json and its stream have them. Raises DiarizationError."""
    if transcription.segments and transcription.receipt.diarization is None:
        raise _without_speakers(transcription)
    labels = _labels(transcription.speakers)
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{segment.id:03d}",
            "start": rounded(segment.start, 3),
            "end": rounded(segment.end, 3),
            "text": segment.text.strip(),
            "speaker": labels.get(segment.speaker or "", UNKNOWN_SPEAKER),
        }
        for segment in transcription.segments
    ]


def _labels(speakers: Iterable[Speaker]) -> dict[str, str]:
    """What to call each speaker: the known name, else the letter, unless that is a known name of somebody else."""
    names = {speaker.name for speaker in speakers}
    return {
        speaker.id: speaker.name or (f"Speaker {speaker.id}" if speaker.id in names else speaker.id)
        for speaker in speakers
    }


def _without_speakers(transcription: Transcription) -> DiarizationError:
    """What the transcription says of why it has none."""
    failures = [notice for notice in transcription.warnings if notice.param == "diarize"]
    if not failures:
        return DiarizationError("This transcript was made without speakers.")
    return DiarizationError(failures[-1].message, code=failures[-1].code)


def done_event(transcription: Transcription, form: SpeechForm) -> Json:
    """The last event of a stream: the whole text; `usage` in tokens, which is the only form that it has there."""
    output = sum(len(segment.tokens) for segment in transcription.segments)
    audio = math.ceil(_seconds(transcription) * AUDIO_TOKENS_PER_SECOND)
    found: Json = {
        "type": "transcript.text.done",
        "text": transcription.text,
        "languages": _languages(transcription),
        "usage": {
            "type": "tokens",
            "input_tokens": audio,
            "output_tokens": output,
            "total_tokens": audio + output,
            "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
        },
    }
    if form.wants_logprobs:
        found["logprobs"] = logprobs_of(transcription.segments)
    if form.response_format == "verbose_json":
        verbose = verbose_json_answer(transcription, form)
        found = {name: value for name, value in verbose.items() if name != "usage"} | found
    return found | facts(transcription)


def facts(transcription: Transcription) -> Json:
    """Where the work ran, and what to know about it."""
    return {
        "job_id": transcription.job_id,
        "model": transcription.model,
        "duration": rounded(transcription.duration, 3),
        "gpu_used": transcription.gpu_used,
        "device": transcription.device,
        "compute_type": transcription.compute_type,
        "fallback_reason": fallback_to_dict(transcription.fallback_reason),
        "warnings": notices_to_list(transcription.warnings),
    }


def logprobs_of(segments: Iterable[Segment]) -> list[Json]:
    """The model's own probabilities of the tokens of the text."""
    return [logprob_to_dict(each) for segment in segments for each in segment.logprobs or ()]


def logprob_to_dict(token: TokenLogprob) -> Json:
    """One token of the text."""
    return {"token": token.token, "logprob": rounded(token.logprob, 6), "bytes": list(token.bytes)}


def _languages(transcription: Transcription) -> list[Json]:
    return [{"code": transcription.language}] if transcription.language else []


def _seconds(transcription: Transcription) -> float:
    return rounded(transcription.duration, 3) or 0.0
