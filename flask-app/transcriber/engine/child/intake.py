"""From a message of the service to a job, on the child's side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...domain.options import TranscriptionOptions, VadParameters
from ..protocol import Message
from .batching import LANES
from .event_sequencer import PlanTotals, Sequenced
from .job import JobSpec, Resumed
from .windows import SpeechChunk, Window


def job_spec(message: Message) -> JobSpec:
    """The job that a transcribe message asks for. Raises KeyError, TypeError or ValueError for a wrong one."""
    lane = message.get("lane", "long")
    if lane not in LANES:
        raise ValueError(f"unknown lane {lane!r}")
    resumption = message.get("resumption")
    return JobSpec(
        job_id=str(message["job_id"]),
        pcm_path=Path(message["pcm_path"]),
        samples=int(message["samples"]),
        options=_options(message["options"]),
        pcm_channels=int(message.get("pcm_channels", 1)),
        lane=lane,
        resumed=None if resumption is None else _resumed(resumption),
    )


def _options(fields: dict[str, Any]) -> TranscriptionOptions:
    """Lists and objects of the message as the options have them."""
    vad = fields.get("vad_parameters")
    return TranscriptionOptions(
        **fields
        | {
            "languages": tuple(fields.get("languages", ())),
            "vad_parameters": None if vad is None else VadParameters(**vad),
        }
    )


def _resumed(fields: dict[str, Any]) -> Resumed:
    plan, history = fields["plan"], fields["history"]
    return Resumed(
        language=str(fields["language"]),
        language_probability=float(fields["language_probability"]),
        told=Sequenced(
            windows=int(fields["windows"]),
            segments=int(fields["segments"]),
            last_ends={channel: float(end) for channel, end in fields["last_ends"]},
            plan=None if plan is None else _windows(plan),
        ),
        totals=None if plan is None else _totals(plan),
        history=None if history is None else tuple(int(token) for token in history),
    )


def _windows(plan: dict[str, Any]) -> tuple[Window, ...]:
    spans = zip(plan["windows"], plan["speech"], plan["faint"], plan["channels"], strict=True)
    return tuple(
        Window(
            index=index,
            start=int(start),
            end=int(end),
            speech=tuple(SpeechChunk(start=int(first), end=int(last)) for first, last in chunks),
            is_faint=bool(is_faint),
            channel=None if channel is None else int(channel),
        )
        for index, ((start, end), chunks, is_faint, channel) in enumerate(spans)
    )


def _totals(plan: dict[str, Any]) -> PlanTotals:
    return PlanTotals(
        is_complete=True,
        duration_after_vad=float(plan["duration_after_vad"]),
        vad_seconds=float(plan["vad_seconds"]),
    )
