"""A job's way through decoder and engine, with the GPU's fallback and the evidence of what ran where."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from ..domain.errors import (
    DecoderCrashedError,
    DecoderUnavailableError,
    EngineError,
    EngineStartError,
    GpuRequiredError,
    UploadGoneError,
)
from ..domain.events import EngineEvent
from ..domain.jobs import Job
from ..domain.options import TranscriptionOptions, TranscriptionRequest
from ..domain.ports import SAMPLE_RATE, Clock, DecodedAudio, Diarizer, EngineInfo, EnginePool, MediaDecoder
from ..domain.suspicions import marked
from ..domain.transcript import Requested, Transcription
from ..gpu.memory_fallback import DegradationPolicy
from ..gpu.policy import DeviceDecision, decide, find_proven
from ..gpu.probe import fault_codes
from ..gpu.probe.facts import GpuStatus
from ..gpu.receipt.engine_facts import ObserveEngine, see_nothing
from ..gpu.receipt.engine_shares import share_of
from ..gpu.receipt.evidence import ReceiptVerdict
from ..jobs.active_job import CancellationToken
from ..jobs.files.journal import Journal, JournalState
from ..models.catalogue import canonical_name
from ..system.durable_files import storage_errors
from .answer_builder import AnswerBuilder, EventRecorder, in_order
from .diarization import decode_references, find_speakers
from .failure_policy import MemoryFallback, RetryPolicy

logger = structlog.get_logger(__name__)

#: How often a suspect looks whether it may go on, in seconds.
SUSPECT_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePlan:
    """What this installation wants of its devices: the policy and the compute types asked for.

    degradation_policy: what the GPU's lack of memory has taught; None: nothing, and its jobs go to the CPU at once.
    observe_engine: looks at the engines for the receipts. expect: called as a job reaches its engine, so that what the
    observation needs is asked for meanwhile.
    """

    policy: str
    gpu_compute_type: str
    cpu_compute_type: str
    degradation_policy: DegradationPolicy | None = None
    observe_engine: ObserveEngine = see_nothing
    expect: Callable[[], None] = lambda: None


class Watcher(Protocol):
    """Receives the progress of a job."""

    def decoded(self, audio: DecodedAudio) -> str:
        """The audio is there; answers with the engine's lane for it."""
        ...

    def began(self, device: str, state: JournalState) -> None:
        """An engine takes the job where the journal says."""
        ...

    def heard(self, event: EngineEvent, state: JournalState) -> None:
        """The engine said something, and it is in the journal."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionWork:
    """One attempt at a job: its files, its journal, and those who watch and stop it."""

    job: Job
    upload: Path
    pcm: Path
    journal: Journal
    cancellation: CancellationToken
    retry_policy: RetryPolicy
    watcher: Watcher
    #: Recordings of known speakers, in the order of their names.
    references: tuple[Path, ...] = ()


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
        diarizer: Diarizer | None = None,
        boot_id: str = "",
    ) -> None:
        self._decoder = decoder
        self._diarizer = diarizer
        self._engines = engines
        self._gpu_status = gpu_status
        self._devices = devices
        self._clock = clock
        self._boot_id = boot_id
        self._memory_fallback = MemoryFallback(engines, devices.degradation_policy)
        #: Held while a job runs that may have ended an engine: suspects go one by one, so that of two
        #: engines that die, one job is not blamed for the other.
        self._suspects = threading.Lock()

    def decide(self, request: TranscriptionRequest) -> DeviceDecision:
        """The device this request would run on now. Raises GpuRequiredError."""
        return decide(
            self._devices.policy,
            request.use_gpu,
            request.require_gpu,
            self._gpu_status(),
            is_proven=find_proven(self._engines.running()) is not None,
        )

    def decide_with_memory(self, request: TranscriptionRequest) -> DeviceDecision:
        """The same, where what the GPU's memory has taught counts, too. Raises GpuRequiredError."""
        decision, policy = self.decide(request), self._devices.degradation_policy
        if policy is None or decision.device != "cuda" or decision.require_gpu:
            return decision
        reason = policy.why_left(canonical_name(request.model))
        return decision if reason is None else DeviceDecision(device="cpu", fallback_reason=reason)

    @property
    def observe(self) -> ObserveEngine:
        """Looks at an engine from outside."""
        return self._devices.observe_engine

    def engines(self) -> tuple[EngineInfo, ...]:
        """The engine children that are up."""
        return self._engines.running()

    def run(self, work: TranscriptionWork) -> Transcription:
        """Transcribe one file, or what is left of it.

        Raises MediaError, LimitError, EngineError, GpuRequiredError, UploadGoneError, JobCancelledError, and
        CapacityError when disk or decoder fail.
        """
        work.cancellation.check()
        state = work.journal.state
        begun, earlier = self._clock.monotonic(), state.worked_seconds
        decision = self.decide(work.job.request)
        if state.has_audio(self._boot_id):
            earlier += state.decode_seconds
        audio = self.decode(work)
        lane = work.watcher.decoded(audio)
        references = self._decode_references(work)
        recorder = self._hear(work, audio, decision, lane)
        judged = recorder.judged
        self.insist(work.job.request, judged)
        found = find_speakers(
            self._diarizer,
            work.job,
            audio,
            marked(in_order(work.journal.state.segments)),
            lambda: work.cancellation.is_pulled,
            references,
        )
        worked = earlier + self._clock.monotonic() - begun
        total = max(worked, self._clock.age(work.job.created_at))
        return AnswerBuilder(work.job, work.journal.state, audio, recorder, judged).build(
            found, worked=worked, total=total, requested=self._requested(work.job.request)
        )

    def decode(self, work: TranscriptionWork, *, until: Callable[[], bool] | None = None) -> DecodedAudio:
        """The job's samples, from the spool if an earlier attempt left them there.

        `until`: gives up with JobCancelledError when it says so.
        """
        state = work.journal.state
        if state.audio is not None and state.has_audio(self._boot_id):
            return state.audio
        while True:
            begun = self._clock.monotonic()
            try:
                audio = self._decode_once(work, until)
            except (DecoderCrashedError, DecoderUnavailableError) as error:
                logger.warning("decoding_failed", job_id=work.job.id, code=error.code)
                work.retry_policy.decoder_failed(error)
                continue
            work.journal.add_audio(audio, self._boot_id, self._clock.monotonic() - begun)
            return audio

    def _decode_references(self, work: TranscriptionWork) -> tuple[DecodedAudio, ...]:
        """Before the work, so that what can't be used is reported at once."""
        if not work.job.request.options.known_speakers:
            return ()
        with storage_errors():
            return decode_references(
                self._decoder,
                work.job,
                work.references,
                work.pcm.parent,
                lambda: work.cancellation.is_pulled,
            )

    def _decode_once(self, work: TranscriptionWork, until: Callable[[], bool] | None) -> DecodedAudio:
        def is_over() -> bool:
            return work.cancellation.is_pulled or (until is not None and until())

        with storage_errors():
            if not work.upload.exists():
                raise UploadGoneError()
            return self._decoder.decode(
                work.upload,
                work.pcm,
                job_id=work.job.id,
                cancelled=is_over,
                selection=work.job.request.options.selection,
            )

    def _hear(
        self, work: TranscriptionWork, audio: DecodedAudio, decision: DeviceDecision, lane: str
    ) -> EventRecorder:
        """Run engines until one finishes the job, each going on where the one before it ended."""
        decision = self._memory_fallback.leave_early(work.job, work.journal, decision)
        while True:
            try:
                with self._alone_if_suspect(work):
                    return self._hear_once(work, audio, decision, lane)
            except EngineError as error:
                work.cancellation.check()
                logger.warning(
                    "engine_attempt_failed",
                    job_id=work.job.id,
                    device=decision.device,
                    code=error.code,
                    error=error.message,
                )
                self._memory_fallback.note_steps(work.job, work.journal, decision)
                if not self._memory_fallback.goes_on(work.job, work.journal, decision, error):
                    decision = work.retry_policy.next_device(decision, error)

    def _hear_once(
        self, work: TranscriptionWork, audio: DecodedAudio, decision: DeviceDecision, lane: str
    ) -> EventRecorder:
        job, journal = work.job, work.journal
        asked = self._clock.monotonic()
        with self._memory_fallback.lend(decision.device, job.request.model) as engine:
            waited = self._clock.monotonic() - asked
            self._devices.expect()
            journal.begin_run(share_of(engine.info, self._devices.observe_engine(engine.info)))
            self._memory_fallback.note_steps(job, journal, decision)
            recorder = EventRecorder(journal, engine.info, decision, self._clock)
            recorder.load_seconds = waited
            work.watcher.began(engine.info.device, journal.state)
            with (
                work.cancellation.tied(lambda: engine.cancel(job.id)),
                self._memory_fallback.parting_with_unfit(engine),
            ):
                for event in engine.transcribe(
                    job.id,
                    audio.path,
                    _clipped(audio, job.request.options),
                    job.request.options.for_engine,
                    pcm_channels=audio.pcm_channels,
                    lane=lane,
                    resumption=journal.state.resumption,
                ):
                    recorder.take(event)
                    self._memory_fallback.learn(engine.info, event)
                    work.watcher.heard(event, journal.state)
            recorder.seen = self._devices.observe_engine(engine.info)
            if recorder.is_lie:
                logger.error("engine_device_mismatch", job_id=job.id, claimed=engine.info.device)
                self._engines.discard(engine, lie_of(engine.info), blocks=False)
            else:
                self._memory_fallback.note_done(engine.info)
        return recorder

    @contextmanager
    def _alone_if_suspect(self, work: TranscriptionWork) -> Iterator[None]:
        if not work.retry_policy.is_suspect:
            yield
            return
        while not self._suspects.acquire(timeout=SUSPECT_POLL_SECONDS):
            work.cancellation.check()
        try:
            yield
        finally:
            self._suspects.release()

    def insist(self, request: TranscriptionRequest, judged: ReceiptVerdict) -> None:
        """A required GPU that the evidence does not show is an error, not an answer."""
        if judged.gpu_used or not (request.require_gpu or self._devices.policy == "required"):
            return
        reason = judged.fallback_reason
        raise GpuRequiredError(
            f"The GPU was required, and the work ran on {judged.device}"
            + (f" ({reason.code}): {reason.message}" if reason else "."),
            fix=reason.fix if reason else "",
            param="require_gpu",
        )

    def _requested(self, request: TranscriptionRequest) -> Requested:
        if request.use_gpu:
            return Requested(use_gpu=True, device="cuda", compute_type=self._devices.gpu_compute_type)
        return Requested(use_gpu=False, device="cpu", compute_type=self._devices.cpu_compute_type)


def lie_of(engine: EngineInfo) -> EngineStartError:
    """The error of an engine whose windows contradict its claim."""
    code = "engine_device_mismatch"
    message = f"The engine claimed {engine.device}, and its windows ran elsewhere."
    return EngineStartError(message, code=code, fix=fault_codes.CAUSES[code].fix)


def _clipped(audio: DecodedAudio, options: TranscriptionOptions) -> int:
    """Samples that the engine gets: all, or those of the first seconds."""
    if options.clip_seconds is None:
        return audio.samples
    return min(audio.samples, round(options.clip_seconds * SAMPLE_RATE))
