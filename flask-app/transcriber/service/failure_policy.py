"""What an attempt does when its decoder or engine fails: try again, with a lighter model, on another device, or give the job up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..domain.errors import (
    DecoderCrashedError,
    DecoderUnavailableError,
    EngineCrashedError,
    EngineError,
    EngineFailedError,
    EngineStartError,
    TranscriberError,
)
from ..domain.events import BatchShrunk, EngineEvent
from ..domain.jobs import Job
from ..domain.ports import Engine, EngineInfo, EnginePool
from ..domain.selftest import UNFIT
from ..gpu.degradation_steps import LIGHTER
from ..gpu.memory_fallback import DegradationPolicy, is_out_of_memory
from ..gpu.policy import DeviceDecision, after_engine_failure
from ..jobs.active_job import CancellationToken
from ..jobs.files.journal import Journal
from ..models.catalogue import canonical_name

#: A job fails with this many engines that died by a fault of their own: most likely its file is the cause.
MAX_FAULTS = 2

#: And with this many that were killed from outside, or hung while other jobs were in them, too.
MAX_KILLS = 10

#: Kills after which the job leaves the GPU, where it may.
KILLS_ON_GPU = 5

#: Causes of a failed start that may be gone in a moment.
_PASSING = frozenset({"engine_start_crashed", "engine_start_timeout", "engines_busy"})

#: Seconds before each further try, for jobs without a waiting connection.
_ENGINE_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
#: Seconds after a wait for room that came to nothing.
_ROOM_WAIT = 1.0
_DECODER_WAITS = (0.1, 0.5, 1.0, 2.0, 5.0)


class RetryPolicy:
    """Counts the deaths around one job. `note` keeps the counts in the store, so that restarts do not forget."""

    def __init__(self, job: Job, cancellation: CancellationToken, note: Callable[[int, int], None]) -> None:
        self._cancellation = cancellation
        self._note = note
        self._is_awaited = job.is_awaited
        self.faults = job.engine_faults
        self.kills = job.engine_kills
        self._kills_before = job.engine_kills
        #: In this attempt: engines that we ended under it, and those that hung with it and others in them.
        self._ended = 0
        self._hung = 0
        self._starts = 0
        self._decodings = 0

    @property
    def is_suspect(self) -> bool:
        """An engine died of itself, or hung, with this job in it, so it may be the cause."""
        return self.faults > 0 or self._hung > 0

    @property
    def is_tired_of_gpu(self) -> bool:
        """Engines were killed or ended so often in this attempt that another device should have a try."""
        return self._hung > 0 or self.kills - self._kills_before + self._ended >= KILLS_ON_GPU

    def next_device(self, decision: DeviceDecision, error: EngineError) -> DeviceDecision:
        """Where to go on after an engine failed. Raises the error when there is nowhere, GpuRequiredError."""
        is_on_gpu = decision.device == "cuda"
        if isinstance(error, EngineCrashedError):
            self.engine_died(error)
            has_enough = error.is_fault or self.is_tired_of_gpu
            if not is_on_gpu or decision.require_gpu or not has_enough:
                return decision
        elif isinstance(error, EngineStartError):
            needs_gpu = is_on_gpu and decision.require_gpu
            is_last = needs_gpu or not is_on_gpu
            if self.may_wait_for_engine(error, needs_gpu=needs_gpu, is_last_resort=is_last):
                return decision
        if not is_on_gpu:
            raise error
        return after_engine_failure(decision, error)

    def engine_died(self, error: EngineCrashedError) -> None:
        """Count it. Raises EngineCrashedError when it was one too many.

        Engines that we ended are counted for the way off the GPU only: the job did nothing, and its time limit is its end.
        """
        if error.is_ours:
            self._ended += 1
            return
        self._hung += error.code == "engine_stalled" and not error.is_fault
        if error.is_fault:
            self.faults += 1
        else:
            self.kills += 1
        self._note(self.faults, self.kills)
        if self.faults >= MAX_FAULTS:
            raise _enough(error, f"{self.faults} engines died of themselves with this job in them")
        if self.kills > MAX_KILLS:
            raise _enough(error, f"{self.kills} engines were killed with this job in them")

    def may_wait_for_engine(
        self, error: EngineStartError, *, needs_gpu: bool = False, is_last_resort: bool = False
    ) -> bool:
        """Whether to try to start it again; waits a while if so. Raises JobCancelledError.

        needs_gpu: there is nothing but this engine. Then one that did not pass its self-test is waited for, too.
        is_last_resort: there is no other device to go to; then room is waited for as long as it takes.
        """
        if error.code == "engines_busy" and is_last_resort and not self._is_awaited:
            # Others are at work, and their jobs end some time: that is no failure to lose patience over.
            self._cancellation.wait(_ROOM_WAIT)
            return True
        is_passing = error.code in _PASSING or (needs_gpu and error.code in UNFIT)
        if self._is_awaited or not is_passing or self._starts >= len(_ENGINE_WAITS):
            return False
        self._cancellation.wait(_ENGINE_WAITS[self._starts])
        self._starts += 1
        return True

    def decoder_failed(self, error: TranscriberError) -> None:
        """Wait a while for another try. Raises the error when there is none left, JobCancelledError."""
        is_killed = isinstance(error, DecoderCrashedError) and error.is_kill
        may_pass = is_killed or isinstance(error, DecoderUnavailableError)
        if self._is_awaited or not may_pass or self._decodings >= len(_DECODER_WAITS):
            raise error
        self._cancellation.wait(_DECODER_WAITS[self._decodings])
        self._decodings += 1


def _enough(error: EngineCrashedError, count: str) -> EngineCrashedError:
    return EngineCrashedError(f"{error.message} ({count}.)", is_fault=error.is_fault, code=error.code)


#: How often a job continues with a lighter compute type at most.
MAX_LIGHTER_STEPS = 3


class MemoryFallback:
    """What of a job's way depends on the GPU's memory. `degradation_policy` None: nothing is learned, and nothing tried."""

    def __init__(self, engines: EnginePool, degradation_policy: DegradationPolicy | None) -> None:
        self._engines = engines
        self._degradation_policy = degradation_policy

    @contextmanager
    def lend(self, device: str, model: str) -> Iterator[Engine]:
        """An engine; one that was started lighter than it need be now is replaced, if nobody is in it.

        Raises what the pool raises.
        """
        with self._engines.lend(device, model) as engine:
            if (
                self._degradation_policy is None
                or engine.busy
                or not self._degradation_policy.is_outdated(engine.info)
            ):
                yield engine
                return
            self._degradation_policy.forget(engine.info.model)
            self._engines.discard(engine)
        with self._engines.lend(device, model) as engine:
            yield engine

    @contextmanager
    def parting_with_unfit(self, engine: Engine) -> Iterator[None]:
        """End an engine that can't decode a single window in the memory there is, or computes wrongly."""
        try:
            yield
        except EngineFailedError as error:
            if engine.info.device == "cuda":
                self._part(engine, error)
            raise

    def _part(self, engine: Engine, error: EngineFailedError) -> None:
        has_no_room = is_out_of_memory(error)
        if has_no_room and self._degradation_policy is not None:
            self._degradation_policy.degrade_from(engine.info)
        if has_no_room or error.code == "numbers_not_finite":
            # Its cause is what keeps the GPU from being proven until the next one is up; that may well be fit.
            self._engines.discard(
                engine, EngineStartError(error.message, code=error.code, fix=error.fix), blocks=False
            )

    def learn(self, engine: EngineInfo, event: EngineEvent) -> None:
        """The engine put fewer windows together, since more did not fit."""
        if (
            isinstance(event, BatchShrunk)
            and engine.device == "cuda"
            and self._degradation_policy is not None
        ):
            self._degradation_policy.note_shrunk(engine, event.before, event.after)

    def note_done(self, engine: EngineInfo) -> None:
        """This engine did a job to its end."""
        if engine.device == "cuda" and self._degradation_policy is not None:
            self._degradation_policy.note_job(engine)

    def note_steps(self, job: Job, journal: Journal, decision: DeviceDecision) -> None:
        """Keep for the receipt what the model was given up so far to fit into the GPU's memory."""
        if self._degradation_policy is None or decision.device != "cuda":
            return
        for step in self._degradation_policy.steps(canonical_name(job.request.model)):
            journal.add_step(step)

    def goes_on(self, job: Job, journal: Journal, decision: DeviceDecision, error: EngineError) -> bool:
        """Whether the GPU gets another try, on the next level of the ladder."""
        if (
            self._degradation_policy is None
            or decision.device != "cuda"
            or not isinstance(error, EngineFailedError)
        ):
            return False
        has_left = self._degradation_policy.has_left_gpu(canonical_name(job.request.model))
        tried = sum(step.code == LIGHTER for step in journal.state.steps)
        return is_out_of_memory(error) and not has_left and tried <= MAX_LIGHTER_STEPS

    def leave_early(self, job: Job, journal: Journal, decision: DeviceDecision) -> DeviceDecision:
        """The CPU at once for a model that came off the GPU a while ago, where the CPU is allowed."""
        model = canonical_name(job.request.model)
        if self._degradation_policy is None or decision.device != "cuda" or decision.require_gpu:
            return decision
        reason = self._degradation_policy.why_left(model)
        if reason is None:
            return decision
        self.note_steps(job, journal, decision)
        return DeviceDecision(device="cpu", fallback_reason=reason)
