"""The stages of the pipeline check: the newest result of each, and how to fix a failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..domain.errors import CapacityError, EngineError, TranscriberError
from ..domain.transcript import FallbackReason

#: What an upload goes through, in this order.
STAGES = STORAGE, DECODE, VAD, ENGINE, WORDS = ("storage", "decode", "vad", "engine", "words")

PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"

_FIXES = {
    STORAGE: "Free space under WHISPER_DATA_DIR and make it writable for the service's user; the log has the cause.",
    DECODE: "Run 'python -m transcriber doctor'. If it fails there too, reinstall PyAV (scripts/setup); the service's "
    "log has the decode server's own words.",
    VAD: "Reinstall faster-whisper and onnxruntime (scripts/setup); the engine is replaced meanwhile.",
    ENGINE: "The engine is replaced. If it comes back, the log has its last words (event engine_stderr).",
    WORDS: "The engine is replaced. If it comes back: verify the model ('python -m transcriber models'), set the compute "
    "type to float32 (WHISPER_CPU_COMPUTE_TYPE, WHISPER_GPU_COMPUTE_TYPE), and test the machine's memory.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StageState:
    """One stage as the newest check that reached it left it. error: of one that failed."""

    name: str
    outcome: str = UNKNOWN
    checked_at: datetime | None = None
    seconds: float | None = None
    error: FallbackReason | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "checked_at": self.checked_at and self.checked_at.isoformat(),
            "seconds": self.seconds,
            "code": self.error and self.error.code,
            "message": self.error and self.error.message,
            "fix": self.error and self.error.fix,
        }


def reason_for(stage: str, error: Exception) -> FallbackReason:
    """The cause in the service's words. An error that blames a user's file is none here: the clip is ours."""
    if isinstance(error, CapacityError | EngineError):
        return as_reason(stage, error.code, error.message, error.fix)
    if stage == DECODE and isinstance(error, TranscriberError):
        message = f"The decode server does not decode a clip that is in order: {error.message}"
        return as_reason(stage, "decoder_unavailable", message)
    message = error.message if isinstance(error, TranscriberError) else f"{type(error).__name__}: {error}"
    return as_reason(stage, "storage_failed" if stage == STORAGE else "internal_error", message)


def as_reason(stage: str, code: str, message: str, fix: str = "") -> FallbackReason:
    return FallbackReason(
        code=code,
        message=f"A clip sent as an upload is not transcribed; the stage '{stage}' fails: {message}",
        fix=fix or _FIXES[stage],
    )
