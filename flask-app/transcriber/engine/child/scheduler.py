"""The owner of all jobs: one thread that gives their windows to the lanes in batches, and reports what came out.

It never computes, so a new job, and a cancelled one, are heard at once, whatever the model does.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from ...domain.events import BatchShrunk
from ...domain.options import TranscriptionOptions
from ...domain.transcript import Notice
from ..protocol import Message, error_message, event_message
from .arrays import Features, Samples
from .batching import LIVE, LONG, Candidate, LanePlan, select_batch
from .decoding.prompts import MAX_PREVIOUS_TOKENS, PromptParts
from .faults import Fault, fault_of
from .front_end import FrontEnd, FrontEndFailed, FrontEndMessage, WindowPlanned, WindowReady
from .job import EngineJob, Grouping, JobSpec
from .lane import BatchEnded, BatchOutcome, Lane, LaneBroke, LaneWork, SelfTestEnded, Taken
from .model.evidence import CudaDriver
from .vad import VadSession


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """To the scheduler: this job was cancelled."""

    job_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """To the scheduler: a new job."""

    spec: JobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestOrdered:
    """To the scheduler: test the engine as soon as its lane is free."""

    test_id: int


class Model(Protocol):
    """What the scheduler needs of a model besides decoding."""

    is_multilingual: bool

    @property
    def alone_is_alike(self) -> bool: ...

    @property
    def sot_length(self) -> int: ...

    @property
    def sot_prev(self) -> int: ...

    def knows_language(self, language: str) -> bool: ...

    def encode_text(self, text: str) -> list[int]: ...

    def log_mel(self, samples: Samples) -> Features: ...


Command = Submitted | Cancelled | SelfTestOrdered | FrontEndMessage | BatchEnded | SelfTestEnded | LaneBroke


class Scheduler:
    """Runs jobs until the process ends. post() is safe from any thread; run() is one thread's body.

    `lanes`: how many batches the model takes at once, and for whom.
    """

    def __init__(
        self,
        *,
        model: Model,
        work: LaneWork,
        vad: VadSession,
        driver: CudaDriver | None,
        batch_size: int,
        lanes: LanePlan,
        send: Callable[[Message], None],
    ) -> None:
        self._model = model
        self._vad = vad
        self._driver = driver
        self._grouping = Grouping(
            limit=batch_size,
            alone_is_alike=model.alone_is_alike,
            lanes=lanes.shared,
            parts_lanes=lanes.has_short,
        )
        self._send = send
        # Bounded by the credits of the jobs in work, and by how many jobs the service lets in.
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._jobs: dict[str, EngineJob] = {}
        self._turn = 0
        self._was_live = False
        #: Self-tests that wait for the first lane; on a GPU that is the only one, so no batch runs beside them.
        self._tests: deque[int] = deque()
        made = [Lane(work, self.post) for _ in range(lanes.total)]
        self._shared = made[: lanes.shared]
        self._short = made[lanes.shared] if lanes.has_short else None

    def post(self, command: Command) -> None:
        """Something for the owner to do."""
        self._commands.put(command)

    def run(self) -> None:
        """Work for ever. Raises FaultError when the device is lost and a new process must go on."""
        for number, lane in enumerate(self._lanes):
            threading.Thread(target=lane.run, name=f"lane-{number}", daemon=True).start()
        while True:
            self._obey(self._commands.get())
            while not self._commands.empty():
                self._obey(self._commands.get())
            self._start_test(self._shared[0])
            self._start_batches()

    def _start_test(self, lane: Lane) -> None:
        """Between two batches: a test goes first, so that it does not wait for all the work there is."""
        if lane.is_free and self._tests:
            lane.start_test(self._tests.popleft())
            self._send({"type": "selftest_started", "test_id": lane.test_id})

    def _end_test(self, ended: SelfTestEnded) -> None:
        ended.lane.test_id = None
        self._send({"type": "selftest_ended", "test_id": ended.test_id, "report": asdict(ended.report)})

    @property
    def _lanes(self) -> list[Lane]:
        return [*self._shared, *([self._short] if self._short else [])]

    def _start_batches(self) -> None:
        """Give every lane that is free its next batch, as far as windows are ready.

        While the lane for clips is at work, no other begins with a long file, so that it soon has fewer rivals. Live
        captions, which never end, keep no file waiting like that; where there is one lane, they take every other turn.
        """
        for lane in self._shared:
            if lane.is_free:
                is_crowded = self._short is not None and self._short.serves_clip
                self._start_batch(lane, self._ready_clips() if is_crowded else self._ready())
        if self._short and self._short.is_free and all(lane.keeps_clips_waiting for lane in self._shared):
            self._start_batch(self._short, self._ready_clips())

    def _ready(self) -> list[Candidate]:
        candidates = [job.candidate(self._model.sot_length) for job in self._jobs.values()]
        ready = [one for one in candidates if one is not None]
        others = [one for one in ready if not one.is_live]
        return others if others and self._was_live and self._short is None else ready

    def _ready_clips(self) -> list[Candidate]:
        return [one for one in self._ready() if self._lane_of(one) != LONG]

    def _start_batch(self, lane: Lane, ready: list[Candidate]) -> None:
        batch = select_batch(ready, self._grouping.limit, len(self._shared))
        if not batch:
            return
        self._turn += 1
        lane.batch, lane.serves = self._turn, self._lane_of(batch[0])
        self._was_live = lane.serves == LIVE
        self._send({"type": "batch_started", "batch": lane.batch, "job_ids": [one.job_id for one in batch]})
        lane.start([taken for candidate in batch for taken in self._take(candidate)])

    def _lane_of(self, candidate: Candidate) -> str:
        return self._jobs[candidate.job_id].spec.lane

    def _take(self, candidate: Candidate) -> list[Taken]:
        job = self._jobs[candidate.job_id]
        job.turn = self._turn
        return [Taken(job=job, row=row) for row in job.take()]

    def _end_batch(self, ended: BatchEnded) -> None:
        """Note what came out of a batch; a job that was cancelled meanwhile wants nothing of it."""
        self._send({"type": "batch_ended", "batch": ended.lane.batch, "sizes": ended.sizes})
        ended.lane.batch = None
        if ended.shrunk is not None:
            self._tell_shrunk(ended)
        jobs = {outcome.taken.job.spec.job_id: outcome.taken.job for outcome in ended.outcomes}
        for job in jobs.values():
            job.batch_ended()
        for outcome in ended.outcomes:
            self._note(outcome)
        for job in jobs.values():
            self._tell(job)

    def _tell_shrunk(self, ended: BatchEnded) -> None:
        """To each job in the batch, before its windows, which may be its last."""
        assert ended.shrunk is not None
        before, after = ended.shrunk
        for job in {outcome.taken.job.spec.job_id: outcome.taken.job for outcome in ended.outcomes}.values():
            if not job.stopped.is_set():
                self._send(event_message(job.spec.job_id, BatchShrunk(before=before, after=after)))

    def _note(self, outcome: BatchOutcome) -> None:
        job = outcome.taken.job
        if job.stopped.is_set():
            return
        if outcome.fault is not None:
            self._fail(job, outcome.fault)
        elif outcome.decoded is not None:
            job.record(outcome.taken.row.window, outcome.decoded)

    def _tell(self, job: EngineJob) -> None:
        if job.stopped.is_set():
            return
        for event in job.sequencer.pull():
            self._send(event_message(job.spec.job_id, event))
        if job.sequencer.is_done:
            peak = self._driver.pool_peak_bytes() if self._driver else None
            self._end(job, event_message(job.spec.job_id, job.finished(peak)))

    def _fail(self, job: EngineJob, fault: Fault) -> None:
        if job.stopped.is_set():
            return
        told = error_message(job.spec.job_id, code=fault.code, message=fault.message, fix=fault.fix)
        self._end(job, told)

    def _end(self, job: EngineJob, message: Message) -> None:
        """The job's last message."""
        del self._jobs[job.spec.job_id]
        job.stop()
        self._send(message)

    def _obey(self, command: Command) -> None:
        match command:
            case Submitted():
                self._start(command.spec)
            case Cancelled():
                job = self._jobs.get(command.job_id)
                if job is not None:
                    self._end(job, {"type": "cancelled", "job_id": command.job_id})
            case BatchEnded():
                self._end_batch(command)
            case SelfTestOrdered():
                self._tests.append(command.test_id)
            case SelfTestEnded():
                self._end_test(command)
            case LaneBroke():
                raise command.error
            case _:
                self._hear(command)

    def _hear(self, message: FrontEndMessage) -> None:
        """What a job's front end says; nothing that concerns a job that is over."""
        job = message.job
        if job.stopped.is_set():
            return
        match message:
            case WindowReady():
                job.add_entry(message.entry)
            case WindowPlanned():
                job.add_planned(message.window, message.totals)
                self._tell(job)
            case FrontEndFailed():
                self._fail(job, fault_of(message.error))

    def _start(self, spec: JobSpec) -> None:
        if self._driver is not None and not self._jobs:
            self._driver.reset_pool_peak()
        language, notices = self._language(spec)
        job = EngineJob(spec, language, self._prompt_parts(spec, notices), self._grouping)
        job.turn = self._turn
        self._jobs[spec.job_id] = job
        fault = self._unsupported(spec, language)
        if fault is not None:
            self._fail(job, fault)
            return
        self._tell(job)
        if not job.stopped.is_set():
            FrontEnd(job, self._model.log_mel, self._vad, self.post).start()

    def _language(self, spec: JobSpec) -> tuple[str | None, tuple[Notice, ...]]:
        """The language if it needs no detecting. An English-only model has one."""
        options = spec.options
        if self._model.is_multilingual:
            why = f"language={options.language} was sent" if options.language else None
            return options.language, _ignored(options, why)
        notices = _ignored(options, "this model knows English only")
        if options.language in (None, "en"):
            return "en", notices
        message = f"This model knows English only; language={options.language} had no effect."
        return "en", (Notice(code="option_ignored", message=message, param="language"), *notices)

    def _unsupported(self, spec: JobSpec, language: str | None) -> Fault | None:
        wanted = [language] if language is not None else spec.options.languages
        for one in wanted:
            if self._model.knows_language(one):
                continue
            return Fault(
                code="language_not_supported",
                message=f"This model does not know the language {one!r}.",
                fix="Send another language, leave it out, or use a model that knows it (large-v3 knows most).",
            )
        if spec.options.task == "translate" and not self._model.is_multilingual:
            return Fault(
                code="task_not_supported",
                message="This model knows English only and can't translate.",
                fix="Send task=transcribe, or use a multilingual model.",
            )
        return None

    def _prompt_parts(self, spec: JobSpec, notices: tuple[Notice, ...]) -> PromptParts:
        """Tokens of hotwords and initial prompt; text that the model has no room for is named."""
        hotwords = self._model.encode_text(spec.options.hotwords) if spec.options.hotwords else []
        prompt = self._model.encode_text(spec.options.initial_prompt) if spec.options.initial_prompt else []
        room = max(0, MAX_PREVIOUS_TOKENS - len(hotwords))
        cut = []
        if len(hotwords) > MAX_PREVIOUS_TOKENS:
            cut.append(_cut_notice("hotwords", "the first"))
        if len(prompt) > room:
            cut.append(_cut_notice("initial_prompt", "the last"))
        return PromptParts(
            sot_prev=self._model.sot_prev,
            hotwords=tuple(hotwords),
            initial_prompt=tuple(prompt),
            notices=(*notices, *cut),
        )


def _ignored(options: TranscriptionOptions, why: str | None) -> tuple[Notice, ...]:
    """Options of detection that have no effect, as no language is detected. why: None: they have one."""
    if why is None:
        return ()
    sent = [name for name in ("languages", "multilingual") if getattr(options, name)]
    return tuple(
        Notice(code="option_ignored", message=f"{name} had no effect: {why}.", param=name) for name in sent
    )


def _cut_notice(param: str, kept: str) -> Notice:
    message = f"{param} is longer than the model takes ({MAX_PREVIOUS_TOKENS} tokens with hotwords); {kept} were used."
    return Notice(code="prompt_truncated", message=message, param=param)
