"""A job's way through decoder and engine, with the GPU's fallback and the evidence of what ran where."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from .domain.errors import (
    EngineCrashedError,
    EngineError,
    GpuRequiredError,
    JobCancelledError,
)
from .domain.events import EngineEvent, Finished, LanguageDetected, SegmentReady, WindowDone
from .domain.jobs import Job
from .domain.options import TranscriptionRequest
from .domain.ports import Clock, DecodedAudio, Engine, EngineInfo, EnginePool, MediaDecoder
from .domain.transcript import Notice, Receipt, Requested, Segment, Timings, Transcription
from .gpu.facts import GpuStatus
from .gpu.policy import DeviceDecision, after_engine_failure, decide, find_proven
from .gpu.receipts import Evidence, Verdict, verdict

logger = structlog.get_logger(__name__)

#: How often a job whose engine dies under it is tried on one device.
TRIES_PER_DEVICE = 2

#: How often a running job looks whether somebody cancelled it, in seconds.
CANCEL_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePlan:
    """What this installation wants of its devices: the policy and the compute types asked for."""

    policy: str
    gpu_compute_type: str
    cpu_compute_type: str


@dataclass(kw_only=True, slots=True)
class Heard:
    """What one run of the engine said about one job, and what its evidence proves."""

    info: EngineInfo
    attempts: int
    decision: DeviceDecision
    language: str = ""
    language_probability: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)
    segments: list[Segment] = field(default_factory=list)
    finished: Finished | None = None

    def take(self, event: EngineEvent) -> None:
        """Add one event."""
        match event:
            case LanguageDetected():
                self.language = event.language
                self.language_probability = event.language_probability
            case WindowDone():
                self.evidence.add(event)
            case SegmentReady():
                self.segments.append(event.segment)
            case Finished():
                self.finished = event
                self.evidence.add_peak(event.pool_peak_bytes)

    @property
    def receipt(self) -> Receipt:
        """The evidence, counted."""
        return replace(self.evidence.receipt(self.info), attempts=self.attempts)

    @property
    def judged(self) -> Verdict:
        """Where the work ran, by the evidence of this run alone."""
        return verdict(self.evidence.receipt(self.info), self.decision)


class Transcriber:
    """Runs jobs. Knows no HTTP, no store: a job and its files in, a Transcription out."""

    def __init__(
        self,
        *,
        decoder: MediaDecoder,
        engines: EnginePool,
        gpu_status: Callable[[], GpuStatus],
        devices: DevicePlan,
        clock: Clock,
    ) -> None:
        self._decoder = decoder
        self._engines = engines
        self._gpu_status = gpu_status
        self._devices = devices
        self._clock = clock

    def decide(self, request: TranscriptionRequest) -> DeviceDecision:
        """The device this request would run on now. Raises GpuRequiredError."""
        return decide(
            self._devices.policy,
            request.use_gpu,
            request.require_gpu,
            self._gpu_status(),
            is_proven=find_proven(self._engines.running()) is not None,
        )

    def run(self, job: Job, upload: Path, pcm: Path, is_cancelled: Callable[[], bool]) -> Transcription:
        """Transcribe one file. Raises MediaError, LimitError, EngineError, GpuRequiredError, JobCancelledError."""
        if is_cancelled():
            raise JobCancelledError()
        begun = self._clock.monotonic()
        decision = self.decide(job.request)
        audio = self._decoder.decode(upload, pcm, job_id=job.id, cancelled=is_cancelled)
        decoded = self._clock.monotonic()
        heard = self._hear_with_fallback(job, audio, decision, is_cancelled)
        self._insist(job.request, heard.judged)
        timings = self._timings(job, heard, decoded - begun, self._clock.monotonic() - begun)
        return self._answer(job, audio, heard, timings)

    def _hear_with_fallback(
        self, job: Job, audio: DecodedAudio, decision: DeviceDecision, is_cancelled: Callable[[], bool]
    ) -> Heard:
        """Try the decided device, once more if its engine dies, then the CPU if the policy allows that."""
        tries = attempts = 0
        while True:
            tries += 1
            attempts += 1
            try:
                return self._hear(job, audio, decision, attempts, is_cancelled)
            except EngineError as error:
                logger.warning(
                    "engine_attempt_failed",
                    job_id=job.id,
                    device=decision.device,
                    attempt=attempts,
                    code=error.code,
                    error=error.message,
                )
                if isinstance(error, EngineCrashedError) and tries < TRIES_PER_DEVICE:
                    continue
                if decision.device != "cuda":
                    raise
                decision = after_engine_failure(decision, error)
                tries = 0

    def _hear(
        self,
        job: Job,
        audio: DecodedAudio,
        decision: DeviceDecision,
        attempts: int,
        is_cancelled: Callable[[], bool],
    ) -> Heard:
        """One run of one engine over the whole file, judged by its evidence."""
        with self._engines.lend(decision.device, job.request.model) as engine:
            heard = Heard(info=engine.info, attempts=attempts, decision=decision)
            with _cancelling(engine, job.id, is_cancelled):
                for event in engine.transcribe(job.id, audio.path, audio.samples, job.request.options):
                    heard.take(event)
            if heard.judged.is_lie:
                logger.error("engine_device_mismatch", job_id=job.id, claimed=engine.info.device)
                self._engines.discard(engine)
        return heard

    def _insist(self, request: TranscriptionRequest, judged: Verdict) -> None:
        """A required GPU that the evidence does not show is an error, not an answer."""
        if judged.gpu_used or not (request.require_gpu or self._devices.policy == "required"):
            return
        reason = judged.fallback_reason
        raise GpuRequiredError(
            f"The GPU was required, and the work ran on {judged.device}."
            + (f" {reason.message}" if reason else ""),
            fix=reason.fix if reason else "",
            param="require_gpu",
        )

    def _timings(self, job: Job, heard: Heard, decode_seconds: float, run_seconds: float) -> Timings:
        started = job.started_at or job.created_at
        queued = max(0.0, (started - job.created_at).total_seconds())
        done = heard.finished
        return Timings(
            queue=queued,
            audio_decode=decode_seconds,
            vad=done.vad_seconds if done else 0.0,
            language_detection=done.language_detection_seconds if done else 0.0,
            transcription=done.transcription_seconds if done else 0.0,
            total=queued + run_seconds,
        )

    def _answer(
        self,
        job: Job,
        audio: DecodedAudio,
        heard: Heard,
        timings: Timings,
    ) -> Transcription:
        request = job.request
        receipt, judged = heard.receipt, heard.judged
        asked = "cuda" if request.use_gpu else "cpu"
        worked = timings.total - timings.queue
        return Transcription(
            job_id=job.id,
            text="".join(segment.text for segment in heard.segments).strip(),
            language=heard.language,
            language_probability=heard.language_probability,
            duration=audio.duration,
            segments=tuple(heard.segments),
            model=request.model,
            task=request.options.task,
            gpu_used=judged.gpu_used,
            device=judged.device,
            compute_type=receipt.compute_type,
            requested=Requested(
                use_gpu=request.use_gpu,
                device=asked,
                compute_type=self._devices.gpu_compute_type
                if asked == "cuda"
                else self._devices.cpu_compute_type,
            ),
            fallback_reason=judged.fallback_reason,
            receipt=receipt,
            timings=timings,
            rtfx=audio.duration / worked if worked > 0 else 0.0,
            warnings=(
                *_ignored(request),
                *audio.notices,
                *(heard.finished.notices if heard.finished else ()),
                *judged.notices,
            ),
            media={
                "container": audio.container,
                "codec": audio.codec,
                "channels": audio.channels,
                "sample_rate": audio.sample_rate,
                "audio_streams": audio.audio_streams,
                "stream_index": audio.stream_index,
            },
        )


def _ignored(request: TranscriptionRequest) -> tuple[Notice, ...]:
    return tuple(
        Notice(code="ignored_parameter", message=f"{name} has no effect here.", param=name)
        for name in request.ignored
    )


@contextmanager
def _cancelling(engine: Engine, job_id: str, is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Tell the engine as soon as the job is cancelled; the engine then ends the job's events."""
    if is_cancelled():
        raise JobCancelledError()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(CANCEL_POLL_SECONDS):
            if is_cancelled():
                engine.cancel(job_id)
                return

    watcher = threading.Thread(target=watch, name=f"cancel-{job_id}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
