"""The stages of a job, each with the device that it runs on here and how long it took the last time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..domain.ports import EngineInfo
from ..domain.transcript import Transcription

#: Stage, the device where that never changes, what does it, and the field of Timings (None: a part of the last one).
_STAGES = (
    ("decoding", "cpu", "FFmpeg in a sandboxed child", "audio_decode"),
    ("finding speech", "cpu", "Silero VAD, onnxruntime", "vad"),
    ("features", "cpu", "log-mel", None),
    ("encoder and decoder", None, "CTranslate2", "transcription"),
)


def stages(engines: Sequence[EngineInfo], last: Transcription | None) -> list[dict[str, Any]]:
    """Plain values. The engine's device is that of the engines that are up; of the last job where none is."""
    up = sorted({f"{engine.device} ({engine.compute_type})" for engine in engines})
    known = ", ".join(up) or (f"{last.device} ({last.compute_type})" if last else None)
    return [
        {
            "stage": name,
            "device": device or known,
            "done_by": by,
            "last_seconds": round(getattr(last.timings, timing), 3) if last and timing else None,
        }
        for name, device, by, timing in _STAGES
    ]
