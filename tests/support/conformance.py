"""What becomes of each field and format of OpenAI's specification: the rows that a test tries, and the table they make.

.venv/bin/python tests/support/conformance.py writes docs/clients/conformance.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients" / "conformance.md"

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
VERBOSE = ("response_format", "verbose_json")
DIARIZED = ("response_format", "diarized_json")
KNOWN = (("known_speaker_names[]", "Ada"), ("known_speaker_references[]", "data:audio/wav;base64,AAAA"))
VAD = ("chunking_strategy[type]", "server_vad")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field, what is sent, and what becomes of it: honoured, mapped, warned, refused."""

    path: str = TRANSCRIPTIONS
    field: str
    sent: Sequence[tuple[str, str]]
    outcome: str
    #: What the job's options then are, by name; `vad.` is of vad_parameters, `request.` of the request.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: How the body begins, and its type.
    begins: str = "{"
    content_type: str = "application/json"
    remark: str = ""


ROWS = (
    Row(field="file", sent=(), outcome="honoured", remark="any format that FFmpeg reads; also named `audio`"),
    Row(
        field="model",
        sent=[("model", "gpt-4o-transcribe")],
        outcome="warned",
        options={"request.model": "base"},
        remark="OpenAI's names mean the default model (`model_alias`); others are a model's own",
    ),
    Row(field="language", sent=[("language", "de")], outcome="honoured", options={"language": "de"}),
    Row(
        field="languages[]",
        sent=[("languages[]", "en"), ("languages[]", "de")],
        outcome="honoured",
        options={"languages": ("en", "de")},
        remark="the language is detected among these",
    ),
    Row(
        field="languages[] with language",
        sent=[("languages[]", "en"), ("language", "de")],
        outcome="warned",
        options={"language": "de", "languages": ()},
    ),
    Row(
        field="keywords[]",
        sent=[("keywords[]", "Ada"), ("keywords[]", "Babbage")],
        outcome="mapped",
        options={"hotwords": "Ada, Babbage"},
        remark="`hotwords`",
    ),
    Row(
        field="prompt",
        sent=[("prompt", "A talk.")],
        outcome="mapped",
        options={"initial_prompt": "A talk."},
        remark="`initial_prompt`",
    ),
    Row(
        field="temperature 0",
        sent=[("temperature", "0")],
        outcome="honoured",
        options={"temperature": None},
        remark="the ladder from 0 up, as OpenAI's",
    ),
    Row(
        field="temperature",
        sent=[("temperature", "0.4")],
        outcome="honoured",
        options={"temperature": 0.4},
    ),
    Row(
        field="include[]=logprobs",
        sent=[("include[]", "logprobs")],
        outcome="honoured",
        options={"token_logprobs": True},
        remark="the model's own token probabilities",
    ),
    Row(
        field="include[]=logprobs with another format",
        sent=[("include[]", "logprobs"), VERBOSE],
        outcome="warned",
        options={"token_logprobs": False},
    ),
    Row(
        field="timestamp_granularities[]=word",
        sent=[("timestamp_granularities[]", "word"), VERBOSE],
        outcome="honoured",
        options={"word_timestamps": True},
    ),
    Row(
        field="timestamp_granularities[]=segment",
        sent=[("timestamp_granularities[]", "segment"), VERBOSE],
        outcome="honoured",
        options={"word_timestamps": False},
    ),
    Row(
        field="timestamp_granularities[] with another format",
        sent=[("timestamp_granularities[]", "word")],
        outcome="warned",
        options={"word_timestamps": False},
    ),
    Row(
        field="stream",
        sent=[("stream", "true")],
        outcome="honoured",
        begins=": connected",
        content_type="text/event-stream",
        remark="`transcript.text.delta`, `transcript.text.done`",
    ),
    Row(
        field="stream with srt or vtt",
        sent=[("stream", "true"), ("response_format", "srt")],
        outcome="warned",
        begins=": connected",
        content_type="text/event-stream",
        remark="the events are the same",
    ),
    Row(
        field="chunking_strategy=auto",
        sent=[("chunking_strategy", "auto"), ("vad_filter", "false")],
        outcome="mapped",
        options={"vad_filter": True, "vad_parameters": None},
        remark="`vad_filter`",
    ),
    Row(
        field="chunking_strategy[threshold]",
        sent=[VAD, ("chunking_strategy[threshold]", "0.3")],
        outcome="honoured",
        options={"vad.threshold": 0.3},
    ),
    Row(
        field="chunking_strategy[prefix_padding_ms]",
        sent=[VAD, ("chunking_strategy[prefix_padding_ms]", "250")],
        outcome="mapped",
        options={"vad.speech_pad_ms": 250},
        remark="`speech_pad_ms`, on both sides",
    ),
    Row(
        field="chunking_strategy[silence_duration_ms]",
        sent=[VAD, ("chunking_strategy[silence_duration_ms]", "350")],
        outcome="mapped",
        options={"vad.min_silence_duration_ms": 350},
        remark="`min_silence_duration_ms`",
    ),
    Row(
        field="known_speaker_names[], known_speaker_references[]",
        sent=[*KNOWN, DIARIZED],
        outcome="honoured",
        options={"diarize": True, "known_speakers": ("Ada",)},
        remark="with `diarize=true` in every format; a data URL of 2 to 10 s for each name",
    ),
    Row(
        field="known_speaker_names[] without speakers",
        sent=KNOWN,
        outcome="warned",
        options={"diarize": False, "known_speakers": ()},
    ),
    Row(
        field="known_speaker_references[] without known_speaker_names[]",
        sent=[KNOWN[1], DIARIZED],
        outcome="refused",
        remark="400 `invalid_parameter`",
    ),
    Row(field="response_format=json", sent=[("response_format", "json")], outcome="honoured"),
    Row(
        field="response_format=text",
        sent=[("response_format", "text")],
        outcome="honoured",
        begins="Ask not",
        content_type="text/plain",
    ),
    Row(
        field="response_format=srt",
        sent=[("response_format", "srt")],
        outcome="honoured",
        begins="1\n00:00:00,000 --> ",
        content_type="application/x-subrip",
    ),
    Row(
        field="response_format=vtt",
        sent=[("response_format", "vtt")],
        outcome="honoured",
        begins="WEBVTT\n\n",
        content_type="text/vtt",
    ),
    Row(field="response_format=verbose_json", sent=[VERBOSE], outcome="honoured"),
    Row(
        field="response_format=diarized_json",
        sent=[DIARIZED],
        outcome="honoured",
        options={"diarize": True},
        remark="speakers `A`, `B`, … or by name",
    ),
    Row(
        field="stream with diarized_json",
        sent=[("stream", "true"), DIARIZED],
        outcome="honoured",
        begins=": connected",
        content_type="text/event-stream",
        options={"diarize": True},
        remark="the text as deltas, then `transcript.text.segment` for each segment",
    ),
    Row(field="a field of none of ours", sent=[("best_of", "5")], outcome="warned"),
    Row(
        field="use_gpu",
        sent=[("use_gpu", "false")],
        outcome="honoured",
        options={"request.use_gpu": False},
        remark="ours",
    ),
    Row(
        field="require_gpu",
        sent=[("require_gpu", "true")],
        outcome="honoured",
        options={"request.require_gpu": True},
        remark="ours",
    ),
    Row(path=TRANSLATIONS, field="file", sent=(), outcome="honoured", options={"task": "translate"}),
    Row(
        path=TRANSLATIONS,
        field="prompt",
        sent=[("prompt", "A talk.")],
        outcome="mapped",
        options={"task": "translate", "initial_prompt": "A talk."},
        remark="`initial_prompt`",
    ),
    Row(
        path=TRANSLATIONS,
        field="temperature",
        sent=[("temperature", "0.4")],
        outcome="honoured",
        options={"temperature": 0.4},
    ),
    Row(
        path=TRANSLATIONS,
        field="response_format=json, text, srt, verbose_json, vtt",
        sent=[("response_format", "text")],
        outcome="honoured",
        begins="Ask not",
        content_type="text/plain",
    ),
)

_HEAD = """# Conformance to OpenAI's audio API

Each row is a test (`tests/unit/web/openai/test_conformance.py`); `tests/support/conformance.py` writes this page. *warned*: it has no effect, or
another one than its name says, and `X-Warnings` and `warnings` name it. Fields may be sent in a form, in the query or as JSON, lists with and without
`[]`, repeated or with commas.

| route | field | outcome | remark |
|---|---|---|---|
"""


def table() -> str:
    """The page."""
    lines = [f"| `{row.path}` | {_code(row.field)} | {row.outcome} | {row.remark} |\n" for row in ROWS]
    return _HEAD + "".join(lines)


def _code(text: str) -> str:
    return f"`{text}`" if " " not in text else text


if __name__ == "__main__":
    PAGE.write_text(table())
    sys.exit(0)
