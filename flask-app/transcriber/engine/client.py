"""The parent's end of one engine child: starts it, sends it jobs, and hands on what it says."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import EngineCrashedError, EngineFailedError, EngineStartError
from ..domain.events import EngineEvent, Finished, Resumption
from ..domain.options import TranscriptionOptions
from ..domain.ports import Clock, EngineInfo
from ..domain.selftest import PATIENCE, SelfTestReport
from .child_jobs import ChildJobs, Inbox
from .process import EngineProcess
from .protocol import (
    JOB_ENDS,
    EngineConfig,
    JobOrder,
    Message,
    ProtocolError,
    batch_sizes,
    event_or_error,
    receive_message,
    send_message,
    transcribe_message,
)
from .selftest.client import SelfTestClient
from .startup import died_early, greeting_of, never_ready, not_started

__all__ = ["OWN_COMMAND", "ChildEngine", "EngineConfig", "OnBatch"]

_log = structlog.get_logger()

#: Our own engine child.
OWN_COMMAND = (sys.executable, "-m", "transcriber.engine.child.main")

#: Seconds a child that lost its socket has to end by itself, and one that ought to cancel a job, to say so.
_DYING_SECONDS = 2.0
_CANCEL_SECONDS = 0.2

#: Receives the sizes of the batches that an engine put through its model.
OnBatch = Callable[[EngineInfo, tuple[int, ...]], None]

#: Put into an inbox by cancel(): from here on, only the job's end matters, and not for long.
_CANCEL_SENT: Message = {"type": "cancel_sent"}


class ChildEngine:
    """One engine child: one device, one model. Implements domain.ports.Engine.

    Plain threads only, so it works under gevent's patches too; there it is to be started from the main
    thread. No lock is held while a caller looks at an event.
    """

    def __init__(
        self, process: EngineProcess, clock: Clock, stall_timeout: float | None, on_batch: OnBatch | None
    ) -> None:
        self._process = process
        self._clock = clock
        self._stall_timeout = stall_timeout
        self._on_batch = on_batch
        self._started_at = clock.now()
        self._info: EngineInfo | None = None
        self._startup: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._send_lock = threading.Lock()
        self._jobs = ChildJobs(clock)
        self._tests = SelfTestClient(self._tell, lambda: self._jobs.is_computing)
        #: The CPU's result for the self-test's clip, if the child had to compute it: kept as the model's reference.
        self.reference: dict[str, Any] | None = None
        self._obituary: str | None = None
        self._ending_by_us = False
        self._fault: str | None = None  # the code, where we ended it for a fault of its own
        self._is_blamed = True  # whether that is held against the jobs in it
        self._last_heard = clock.monotonic()
        self.last_used = clock.monotonic()
        self._reader = threading.Thread(target=self._read, name=f"engine-{process.pid}-reader", daemon=True)

    @classmethod
    def start(
        cls,
        config: EngineConfig,
        environment: Mapping[str, str],
        *,
        clock: Clock,
        start_timeout: float,
        command: tuple[str, ...] = (),
        stall_timeout: float | None = None,
        on_batch: OnBatch | None = None,
    ) -> ChildEngine:
        """A child that is ready. `environment` is the whole of its environment, PYTHONPATH is added.

        `stall_timeout`: seconds of silence after which a child with work is ended; None: never.
        Raises EngineStartError: its code is the child's named cause, engine_start_timeout or
        engine_start_crashed.
        """
        try:
            process = EngineProcess.start(command or OWN_COMMAND, config.to_json(), environment)
        except OSError as error:
            raise not_started(error) from error
        engine = cls(process, clock, stall_timeout, on_batch)
        engine._reader.start()
        try:
            engine._wait_until_ready(config.device, start_timeout)
        except BaseException:
            engine.close(grace=0)
            raise
        return engine

    @property
    def info(self) -> EngineInfo:
        """What the child said of itself when it became ready."""
        if self._info is None:
            raise EngineStartError("The engine child is not ready yet.")
        return self._info

    @property
    def alive(self) -> bool:
        """Whether it can take a job."""
        return self._obituary is None and not self._ending_by_us and self._process.is_running

    @property
    def last_words(self) -> str:
        """The newest lines of the child's standard error, about 4 kB."""
        return str(self._process.last_words)

    @property
    def busy(self) -> int:
        """Jobs that are in it now."""
        return len(self._jobs)

    @property
    def wasted_seconds(self) -> float:
        """For how long it has computed for jobs that were all given up; 0: it does not."""
        return self._jobs.wasted_seconds

    def transcribe(
        self,
        job_id: str,
        pcm: Path,
        samples: int,
        options: TranscriptionOptions,
        *,
        pcm_channels: int = 1,
        lane: str = "long",
        resumption: Resumption | None = None,
    ) -> Iterator[EngineEvent]:
        """Run one job, or the rest of it; yields its events. Closing the iterator early cancels it in the child.

        Raises EngineCrashedError, EngineFailedError, JobCancelledError.
        """
        order = JobOrder(
            pcm=pcm,
            samples=samples,
            pcm_channels=pcm_channels,
            options=options,
            lane=lane,
            resumption=resumption,
        )
        opened = self._jobs.open(job_id)
        if opened is None:
            raise self._crash()
        wire_id, inbox = opened
        try:
            self._ask(transcribe_message(wire_id, order))
            yield from self._events(inbox)
        finally:
            is_unfinished = self._jobs.close(wire_id)
            self.last_used = self._clock.monotonic()
            if is_unfinished:
                self._tell({"type": "cancel", "job_id": wire_id})

    def cancel(self, job_id: str) -> None:
        """Ask the child to drop this job. Safe for jobs it does not know."""
        for wire_id, inbox in self._jobs.find(job_id):
            self._tell({"type": "cancel", "job_id": wire_id})
            inbox.messages.put(_CANCEL_SENT)

    def selftest(self, timeout: float) -> SelfTestReport:
        """Test it, between two of its batches. timeout: seconds that it may be silent while it has nothing else to do.

        A slow engine may take longer, by what its newest test took. Raises EngineFailedError, EngineCrashedError.
        """
        known = self.info.selftest.seconds if self.info.selftest else 0.0
        report = self._tests.run(max(timeout, PATIENCE * known)).held_to(self.info.device)
        if report.passed:
            self._info = replace(self.info, selftest=report, proven_at=self._clock.now())
        return report

    def close(self, grace: float = 2.0) -> None:
        """End the child: politely, and after `grace` seconds with SIGKILL. Its jobs end as crashed."""
        # One that had died before is only cleaned up after: that it is closed now is not what ended it.
        self._ending_by_us = self._ending_by_us or self._process.is_running
        if grace > 0 and self._process.is_running:
            self._tell({"type": "shutdown"})
            self._process.wait(grace)
        self._process.kill()
        self._process.wait(_DYING_SECONDS)
        self._process.hang_up()
        if self._reader.ident is not None and self._reader is not threading.current_thread():
            self._reader.join(_DYING_SECONDS)

    # Starting

    def _wait_until_ready(self, wanted: str, timeout: float) -> None:
        try:
            message = self._startup.get(timeout=timeout)
        except queue.Empty:
            raise never_ready(timeout, self._process.last_words.brief()) from None
        if message is None:
            raise died_early(self._obituary)
        self._info = greeting_of(message, self._started_at, self._clock.now(), wanted)
        reference = message.get("reference")
        self.reference = reference if isinstance(reference, dict) else None
        _log.info("engine_ready", engine_pid=self._info.pid, device=self._info.device, model=self._info.model)

    # One job, in the caller's thread

    def _ask(self, message: Message) -> None:
        self._last_heard = self._clock.monotonic()
        try:
            self._tell(message)
        except ProtocolError as error:
            raise EngineFailedError(
                f"The job can't be sent to the engine: {error}.",
                code="engine_protocol_error",
                fix="Shorten initial_prompt or hotwords.",
            ) from error

    def _events(self, inbox: Inbox) -> Iterator[EngineEvent]:
        while True:
            event = event_or_error(self._next(inbox))
            if event is not None:
                yield event
            if isinstance(event, Finished):
                return

    def _next(self, inbox: Inbox) -> Message:
        """The job's next message. Waits for it, but not for ever where a limit is set."""
        limit = self._stall_timeout
        while True:
            try:
                message = inbox.messages.get(timeout=limit)
            except queue.Empty:
                self._end_if_stalled(inbox)
                continue
            if message is None:
                raise self._crash()
            if message is not _CANCEL_SENT:
                return message
            return self._answer_to_cancel(inbox)

    def _answer_to_cancel(self, inbox: Inbox) -> Message:
        """The child's last word on a cancelled job, or ours if it gives none in time."""
        deadline = self._clock.monotonic() + _CANCEL_SECONDS
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                message = inbox.messages.get(timeout=left)
            except queue.Empty:
                break
            if message is None or message["type"] in JOB_ENDS:
                break
        # Even if the job was done before the child heard of it: the caller has given it up.
        return {"type": "cancelled"}

    def _end_if_stalled(self, inbox: Inbox) -> None:
        """Kill a child that has been silent for too long; the reader then ends its jobs."""
        silent = self._clock.monotonic() - self._last_heard
        if self._stall_timeout is None or silent < self._stall_timeout or not self._process.is_running:
            return
        if self._tests.is_testing:
            return  # its own watch ends it, and then no job is blamed
        _log.error("engine_stalled", engine_pid=self._process.pid, job_id=inbox.job_id, jobs=len(self._jobs))
        # With several jobs it is unknown which one it hangs on, so it counts against none.
        self._is_blamed = len(self._jobs) <= 1
        self._end_for_fault(f"(ended by the service: silent for {silent:.0f} s)", "engine_stalled")

    def _end_for_fault(self, words: str, code: str = EngineCrashedError.code) -> None:
        self._fault = code
        self._process.last_words.add(words)
        self._process.kill()

    def _crash(self) -> EngineCrashedError:
        if self._ending_by_us and self._fault is None:
            message = "The engine child was ended by the service while the job was in it."
            return EngineCrashedError(message, is_ours=True)
        return EngineCrashedError(
            f"The engine child died while the job was in it: {self._obituary}.",
            is_fault=self._is_blamed if self._fault is not None else self._process.died_by_fault,
            code=self._fault,
        )

    def _tell(self, message: Message) -> None:
        """Send; a child that is gone is the reader's news, not ours."""
        try:
            with self._send_lock:
                send_message(self._process.sock, message)
        except OSError as error:
            _log.info("engine_send_failed", engine_pid=self._process.pid, error=str(error))

    # The reader's thread

    def _read(self) -> None:
        """Thread: hand each message to its job, until the child is gone; then end every job."""
        try:
            while (message := receive_message(self._process.sock)) is not None:
                self._dispatch(message)
        except OSError as error:
            _log.info("engine_connection_lost", engine_pid=self._process.pid, error=str(error))
        except (ProtocolError, ValueError) as error:
            self._end_for_fault(f"(ended by the service: it sent no message but {error!r})")
        finally:
            self._bury()

    def _dispatch(self, message: Message) -> None:
        self._last_heard = self._clock.monotonic()
        if message["type"] in ("ready", "start_failed"):
            self._startup.put(message)
            return
        if message["type"] in ("batch_started", "batch_ended"):
            self._jobs.note_batch(message)
            if self._on_batch is not None and self._info is not None:
                self._on_batch(self._info, batch_sizes(message))
            return
        if self._tests.deliver(message):
            return
        self._jobs.deliver(message)

    def _bury(self) -> None:
        """See the process out, then say so to everyone who waits."""
        if not self._process.wait(_DYING_SECONDS):
            self._process.kill()
            self._process.wait(_DYING_SECONDS)
        obituary = self._process.obituary()
        self._obituary = obituary
        waiting = self._jobs.end()
        with self._send_lock:
            self._process.sock.close()
        level = _log.info if self._ending_by_us else _log.error
        level("engine_ended", engine_pid=self._process.pid, how=obituary, jobs=len(waiting))
        self._startup.put(None)
        self._tests.bury()
        for inbox in waiting:
            inbox.messages.put(None)
