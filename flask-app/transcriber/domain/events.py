"""What the engine says while it works on a job, in order:

LanguageDetected, the first Planned, then WindowDone, SegmentReady and more of Planned as they come, then
Finished. BatchShrunk may come anywhere. A window comes after the Planned that holds it. A resumed job sends only what is new.
A failure or a cancelled job ends the stream with an exception instead of Finished.
"""

from __future__ import annotations

from dataclasses import dataclass

from .transcript import Notice, Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageDetected:
    """The language of the file (code, as 'en'), given or detected; probability 0 to 1.

    alternatives: the next likeliest, where it was detected.
    """

    language: str
    language_probability: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """Windows of the job as VAD finds them, in order: (start, end) in samples. Several may follow one another;
    the last one is complete, and has the seconds of audio that VAD kept.

    `speech` holds the speech chunks of each window, (start, end) in samples: a job that is resumed needs them to
    decide as before; `faint` says of which windows VAD is not sure, `channels` from which channel each is. A plan that was kept without them is made anew, with
    the same windows as result.
    """

    first_index: int
    windows: tuple[tuple[int, int], ...]
    is_complete: bool
    duration_after_vad: float
    vad_seconds: float
    speech: tuple[tuple[tuple[int, int], ...], ...] = ()
    faint: tuple[bool, ...] = ()
    channels: tuple[int | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowDone:
    """One window went through the encoder: on which device, by the encoder output's own word.

    Windows come in order, each followed by its segments. `history` is what the next window is
    conditioned on (token ids), only where condition_on_previous_text is set. dropped: words of a loop that were left out.
    """

    index: int
    device: str
    history: tuple[int, ...] | None = None
    dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchShrunk:
    """A batch with this job's windows did not fit into memory; `after` windows go together from now on."""

    before: int
    after: int


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


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedWindow:
    """A window of an earlier run whose text stays: its device and its segments. dropped: as in WindowDone."""

    index: int
    device: str
    segments: tuple[Segment, ...]
    dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumption:
    """Where an interrupted job goes on. The engine redoes nothing of `finished` (windows 0, 1, … in order).

    plan None: VAD had not read the whole file; the engine runs it again, with the same windows as result.
    """

    language: str
    language_probability: float
    plan: Planned | None
    finished: tuple[FinishedWindow, ...]
    history: tuple[int, ...] | None = None


EngineEvent = LanguageDetected | Planned | WindowDone | BatchShrunk | SegmentReady | Finished
