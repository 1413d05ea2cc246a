"""The owner of the model: one thread that takes windows of all jobs into batches, and tells what came out."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.transcript import Notice
from .arrays import Features, Samples
from .batching import Candidate, select_batch
from .decoding import DecodedWindow, Row
from .evidence import CudaDriver
from .faults import Fault, FaultError, fault_of
from .front_end import FrontEnd, FrontEndFailed, FrontEndMessage, Offered, Planned
from .job import Entry, Job, JobSpec, PromptParts
from .pcm import Pcm
from .prompts import MAX_PREVIOUS_TOKENS
from .protocol import Message
from .vad import VadSession
from .windows import Window

_LOGGER = logging.getLogger("transcriber.engine")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """To the batcher: somebody gave this job up."""

    job_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """To the batcher: a new job."""

    spec: JobSpec


class Model(Protocol):
    """What the batcher needs of a model besides decoding."""

    is_multilingual: bool

    @property
    def sot_length(self) -> int: ...

    @property
    def sot_prev(self) -> int: ...

    def knows_language(self, language: str) -> bool: ...

    def encode_text(self, text: str) -> list[int]: ...

    def log_mel(self, samples: Samples) -> Features: ...


Command = Submitted | Cancelled | FrontEndMessage


class Batcher:
    """Runs jobs until the process ends. post() is safe from any thread; run() is one thread's body."""

    def __init__(
        self,
        *,
        model: Model,
        decode: Callable[[Sequence[Row]], list[DecodedWindow]],
        vad: VadSession,
        driver: CudaDriver | None,
        batch_size: int,
        send: Callable[[Message], None],
    ) -> None:
        self._model = model
        self._decode_batch = decode
        self._vad = vad
        self._driver = driver
        self._batch_size = batch_size
        self._send = send
        # Bounded by the credits of the jobs in work, and by how many jobs the service lets in.
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._turn = 0

    def post(self, command: Command) -> None:
        """Something for the owner to do."""
        self._commands.put(command)

    def run(self) -> None:
        """Work for ever. Raises FaultError when the device is lost and a new process must go on."""
        while True:
            if not self._run_batch():
                self._obey(self._commands.get())
            while not self._commands.empty():
                self._obey(self._commands.get())

    def _run_batch(self) -> bool:
        """Take and decode one batch; False if no window is ready."""
        sot_length = self._model.sot_length
        candidates = [one for job in self._jobs.values() for one in job.candidates(sot_length)]
        batch = select_batch(candidates, self._batch_size)
        if not batch:
            return False
        self._turn += 1
        self._decode([*self._take(batch)])
        return True

    def _take(self, batch: list[Candidate]) -> list[tuple[Job, Row]]:
        positions: dict[str, list[int]] = {}
        for candidate in batch:
            positions.setdefault(candidate.job_id, []).append(candidate.position)
        taken: list[tuple[Job, Row]] = []
        for job_id, own in positions.items():
            job = self._jobs[job_id]
            job.turn = self._turn
            taken.extend((job, row) for row in job.take(own))
        return taken

    def _decode(self, taken: list[tuple[Job, Row]]) -> None:
        """Decode; after a failure in halves, so that one bad window, or too little memory, costs one job."""
        taken = [(job, row) for job, row in taken if not job.stopped.is_set()]
        if not taken:
            return
        try:
            decoded = self._decode_batch([row for _, row in taken])
        except Exception as error:  # noqa: BLE001 - the boundary between jobs; a fault is told, or ends the process
            self._decode_halves(taken, fault_of(error))
            return
        for (job, row), result in zip(taken, decoded, strict=True):
            self._record(job, row.window, result)

    def _decode_halves(self, taken: list[tuple[Job, Row]], fault: Fault) -> None:
        _LOGGER.error("batch_failed rows=%d code=%s message=%s", len(taken), fault.code, fault.message)
        if fault.sticky:
            raise FaultError(fault)
        if len(taken) == 1:
            self._fail(taken[0][0], fault)
            return
        middle = len(taken) // 2
        self._decode(taken[:middle])
        self._decode(taken[middle:])

    def _record(self, job: Job, window: Window, decoded: DecodedWindow) -> None:
        job.record(window, decoded)
        if decoded.rest is not None:
            job.add_rest(self._entry(job, decoded.rest))
        self._tell(job)

    def _entry(self, job: Job, window: Window) -> Entry:
        samples = Pcm(job.spec.pcm_path, job.spec.samples).read(window.start, window.end)
        return Entry(window=window, features=self._model.log_mel(samples))

    def _tell(self, job: Job) -> None:
        for message in job.pull_messages():
            self._send(message)
        if job.is_done():
            peak = self._driver.pool_peak_bytes() if self._driver else None
            self._end(job, job.done_message(peak))

    def _fail(self, job: Job, fault: Fault) -> None:
        if job.stopped.is_set():
            return
        self._end(
            job,
            {
                "type": "error",
                "job_id": job.spec.job_id,
                "code": fault.code,
                "message": fault.message,
                "fix": fault.fix,
            },
        )

    def _end(self, job: Job, message: Message) -> None:
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
            case _ if command.job.stopped.is_set():
                pass
            case Offered():
                command.job.add_entry(command.entry)
            case Planned():
                command.job.set_plan(command.plan)
                self._tell(command.job)
            case FrontEndFailed():
                self._fail(command.job, fault_of(command.error))

    def _start(self, spec: JobSpec) -> None:
        if self._driver is not None and not self._jobs:
            self._driver.reset_pool_peak()
        language, notices = self._language(spec)
        job = Job(spec, language, self._prompt_parts(spec, notices), 2 * self._batch_size)
        job.turn = self._turn
        self._jobs[spec.job_id] = job
        fault = self._unsupported(spec, language)
        if fault is not None:
            self._fail(job, fault)
            return
        self._tell(job)
        front_end = FrontEnd(job, self._model.log_mel, self._vad, self.post)
        threading.Thread(target=front_end.run, name=f"front-end-{spec.job_id}", daemon=True).start()

    def _language(self, spec: JobSpec) -> tuple[str | None, tuple[Notice, ...]]:
        """The language if it needs no detecting. An English-only model has one."""
        given = spec.options.language
        if self._model.is_multilingual:
            return given, ()
        if given in (None, "en"):
            return "en", ()
        message = f"This model knows English only; language={given} had no effect."
        return "en", (Notice(code="option_ignored", message=message, param="language"),)

    def _unsupported(self, spec: JobSpec, language: str | None) -> Fault | None:
        if language is not None and not self._model.knows_language(language):
            return Fault(
                code="language_not_supported",
                message=f"This model does not know the language {language!r}.",
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


def _cut_notice(param: str, kept: str) -> Notice:
    message = f"{param} is longer than the model takes ({MAX_PREVIOUS_TOKENS} tokens with hotwords); {kept} were used."
    return Notice(code="prompt_truncated", message=message, param=param)
