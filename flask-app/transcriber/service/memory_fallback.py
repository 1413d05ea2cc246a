"""A job on a GPU that has too little memory for it: the ladder of gpu/degradation_steps.py, step by step, with nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..domain.errors import EngineError, EngineFailedError, EngineStartError
from ..domain.events import BatchShrunk, EngineEvent
from ..domain.jobs import Job
from ..domain.ports import Engine, EngineInfo, EnginePool
from ..gpu.degradation_steps import LIGHTER
from ..gpu.memory_fallback import DegradationPolicy, is_out_of_memory
from ..gpu.policy import DeviceDecision
from ..jobs.files.journal import Journal
from ..models.catalogue import canonical_name

#: A job goes on with a lighter compute type at most so often.
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
