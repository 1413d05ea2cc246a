"""Transcriptions for tests: one plain example, and hypothesis strategies for all the others."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from transcriber.domain.transcript import (
    FallbackReason,
    Notice,
    Receipt,
    Requested,
    Segment,
    Timings,
    Transcription,
    Word,
)

JOB_ID = "job_" + "A1-_" * 6


def make_segment(**changes: Any) -> Segment:
    values: dict[str, Any] = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 2.5,
        "text": " Ask not what your country can do for you.",
        "tokens": (50364, 6498, 51814),
        "avg_logprob": -0.25,
        "compression_ratio": 1.2,
        "no_speech_prob": 0.01,
        "words": None,
        "temperature": 0.0,
    }
    return Segment(**(values | changes))


def make_transcription(*segments: Segment, **changes: Any) -> Transcription:
    values: dict[str, Any] = {
        "job_id": JOB_ID,
        "text": "".join(segment.text for segment in segments).strip(),
        "language": "en",
        "language_probability": 0.98,
        "duration": 11.0,
        "segments": segments,
        "model": "base",
        "task": "transcribe",
        "gpu_used": False,
        "device": "cpu",
        "compute_type": "int8_float32",
        "requested": Requested(use_gpu=True, device="cuda", compute_type="auto"),
        "fallback_reason": FallbackReason(code="no_driver", message="There is no driver.", fix="Install it."),
        "receipt": Receipt(
            device_name=None,
            device_uuid=None,
            windows_gpu=0,
            windows_cpu=1,
            windows_total=1,
            claimed_device="cpu",
            compute_type="int8_float32",
            requested_compute_type="int8",
            engine_pid=4711,
        ),
        "timings": Timings(queue=0.001, audio_decode=0.2, vad=0.05, transcription=1.5, total=1.75),
        "rtfx": 6.29,
        "warnings": (Notice(code="ignored_parameter", message="best_of has no effect.", param="best_of"),),
        "media": {"container": "flac", "codec": "flac", "channels": 1, "sample_rate": 16000},
    }
    return Transcription(**(values | changes))


#: For property tests: a busy machine is no failure.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

any_float = st.floats(allow_nan=True, allow_infinity=True)
times = st.floats(min_value=-1, max_value=400_000) | any_float
#: Text as an engine might give it, rich in what would break a format.
texts = st.lists(
    st.sampled_from(
        ["-->", "--->", "\n", "\r\n", "\n\n", "\t", "\u2028", "\x00", "<b>", "&", "1", "WEBVTT", "NOTE"]
    )
    | st.text(max_size=8),
    max_size=8,
).map("".join)

words = st.builds(Word, start=times, end=times, word=texts, probability=any_float)
segments = st.builds(
    Segment,
    id=st.integers(0, 10_000),
    seek=st.integers(0, 10**9),
    start=times,
    end=times,
    text=texts,
    tokens=st.lists(st.integers(0, 51865), max_size=4).map(tuple),
    avg_logprob=any_float,
    compression_ratio=any_float,
    no_speech_prob=any_float,
    words=st.none() | st.lists(words, max_size=3).map(tuple),
    temperature=any_float,
)
transcriptions = st.lists(segments, max_size=6).map(lambda some: make_transcription(*some))
