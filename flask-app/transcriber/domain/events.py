"""What the engine says while it works on a job, in order:

Started, LanguageDetected, Planned, then WindowDone and SegmentReady as they come, then Finished.
A failure or a cancelled job ends the stream with an exception instead of Finished.
"""

from __future__ import annotations

from dataclasses import dataclass

from .transcript import Notice, Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageDetected:
    """The language of the file (code, as 'en'), given or detected; probability 0 to 1."""

    language: str
    language_probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """How many windows the job has, and the seconds of audio that VAD kept."""

    windows_total: int
    duration_after_vad: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowDone:
    """One window went through the encoder: on which device, by the encoder output's own word."""

    index: int
    device: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentReady:
    """A finished segment, in the order of time."""

    segment: Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The engine is done with the job. Stage times in seconds; pool_peak_bytes only on CUDA."""

    vad_seconds: float
    language_detection_seconds: float
    transcription_seconds: float
    pool_peak_bytes: int | None
    notices: tuple[Notice, ...]


EngineEvent = LanguageDetected | Planned | WindowDone | SegmentReady | Finished
