"""What a transcription is: words, segments, and the facts about where it was made.

Field names and order of Word and Segment follow faster-whisper and OpenAI's verbose_json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One word. start, end: seconds from the start of the file; probability: 0 to 1."""

    start: float
    end: float
    word: str
    probability: float
    #: The speaker's id; None without diarization.
    speaker: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """One token of a text: what it looks like, its bytes (a character may span tokens), its log probability."""

    token: str
    bytes: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A decoded unit of text with its times (seconds from the start of the file).

    language: where it may differ from the file's (multilingual). channel: where each was transcribed on its own (split).
    suspect: reasons to doubt that it was said, by their codes (domain/suspicions.py).
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None
    temperature: float
    #: Of the tokens of the text; None: not asked for.
    logprobs: tuple[TokenLogprob, ...] | None = None
    language: str | None = None
    channel: int | None = None
    suspect: tuple[str, ...] = ()
    #: The speaker's id; a segment has one speaker. None without diarization.
    speaker: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """Somebody who speaks in a recording. name: empty until a person gives one; seconds: how long they speak."""

    id: str
    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeakerTurn:
    """A speaker speaks from `start` to `end` (seconds); overlap: somebody else does, too."""

    speaker: str
    start: float
    end: float
    overlap: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DiarizationReceipt:
    """Where the speakers of one job were separated. provider: ONNX Runtime's word for what computed."""

    device: str
    provider: str
    pid: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FallbackReason:
    """Why the GPU did not do the work that was asked of it, and how to fix that."""

    code: str
    message: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """Where a finished job ran, for lists of jobs."""

    gpu_used: bool
    device: str
    compute_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """What the caller asked for, beside what was done."""

    use_gpu: bool
    device: str
    compute_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Corroboration:
    """NVML's word on a receipt: 'agrees', 'disagrees' or 'not_available', and why. It never decides anything."""

    verdict: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryStep:
    """What was given up because the GPU had too little memory: the batch's size, the compute type, or the GPU.

    code: 'smaller_batch', 'lighter_compute_type' or 'cpu'.
    """

    code: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineShare:
    """One engine, and what it did of a job: windows that are in the answer, by the device of the encoder's output.

    windows counts those, too, that left no evidence. The other fields are as in Receipt.
    """

    claimed_device: str
    compute_type: str
    requested_compute_type: str
    engine_pid: int
    device_name: str | None = None
    device_uuid: str | None = None
    partition: str | None = None
    kernels: str | None = None
    is_jit: bool | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    windows: int = 0
    windows_gpu: int = 0
    windows_cpu: int = 0
    #: The fleet's worker that the engine belongs to; None: there is no fleet.
    worker: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Evidence of where the windows of one job ran.

    windows_gpu and windows_cpu count windows by the device of the encoder's own output, never by
    what was asked for. claimed_device is what the engine said of itself when it became ready.
    What speaks of engines is true of all that did windows of the answer, else 'mixed'; of the GPU it speaks of those
    that used it. engine_pid and libraries are of the last of them.
    """

    device_name: str | None
    device_uuid: str | None
    windows_gpu: int
    windows_cpu: int
    windows_total: int
    claimed_device: str
    compute_type: str
    requested_compute_type: str
    engine_pid: int
    pool_peak_bytes: int | None = None
    attempts: int = 1
    #: 'whole', or the profile of the MIG slice, as '1g.10gb'; None on the CPU.
    partition: str | None = None
    #: What of CTranslate2's binary runs on this GPU, and whether the driver had to compile it first (PTX).
    kernels: str | None = None
    is_jit: bool | None = None
    #: Files that the engine has mapped, by /proc: libctranslate2, and on a GPU libcuda, libcublas and libcublasLt.
    libraries: Mapping[str, str] = field(default_factory=dict)
    nvml: Corroboration | None = None
    #: What too little memory on the GPU has cost this job, in order.
    steps: tuple[MemoryStep, ...] = ()
    #: The engines that did windows of the answer, in order, each with its part.
    engines: tuple[EngineShare, ...] = ()
    #: Where the speakers were separated; None: not requested, or it failed.
    diarization: DiarizationReceipt | None = None
    #: The fleet's worker that did the windows, 'mixed' where several did; None: there is no fleet.
    worker: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Seconds a job spent in each stage. Stages that did not run are 0.

    model_load: until an engine was lent: what the start of one that was not loaded took, or the wait for room.
    """

    queue: float = 0.0
    audio_decode: float = 0.0
    model_load: float = 0.0
    vad: float = 0.0
    language_detection: float = 0.0
    transcription: float = 0.0
    diarization: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Something the caller should know: a code, the parameter it is about, and a sentence."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """The whole answer to one request (DESIGN §3). Durations in seconds; rtfx = audio / processing."""

    job_id: str
    text: str
    language: str
    language_probability: float
    duration: float
    segments: tuple[Segment, ...]
    model: str
    task: str
    gpu_used: bool
    device: str
    compute_type: str
    requested: Requested
    fallback_reason: FallbackReason | None
    receipt: Receipt
    timings: Timings
    rtfx: float
    warnings: tuple[Notice, ...] = field(default_factory=tuple)
    #: Facts about the file: container, codec, channels, sample rate, which audio stream was taken.
    media: Mapping[str, Any] = field(default_factory=dict)
    #: The speakers, by first word, and their turns; empty without diarization.
    speakers: tuple[Speaker, ...] = ()
    speaker_turns: tuple[SpeakerTurn, ...] = ()
    #: DecodedAudio's, for the page; no part of the answer. Empty for results of earlier versions.
    peaks: str = ""
