"""The media decoder as the service sees it: uploads go to a sandboxed child, PCM comes back.

Works in threads and in gevent's greenlets alike: it waits on sockets only.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import structlog

from transcriber.domain.errors import (
    AudioRoomError,
    DecoderCrashedError,
    DecoderUnavailableError,
    DecodeTimeoutError,
    EmptyUploadError,
    JobCancelledError,
    ShuttingDownError,
    StorageFullError,
    TranscriberError,
)
from transcriber.domain.options import MIX, AudioSelection
from transcriber.domain.ports import SAMPLE_RATE, DecodedAudio

from .messages import Message
from .outcome import LostBeforeStartError, Reports, build_audio, iter_messages
from .server_process import SandboxStatus, ServerGoneError, ServerProcess, start_server

logger = structlog.get_logger(__name__)

_POLL_SECONDS = 0.1
#: Seconds after the child's own time limit at which the parent kills it.
_TIMEOUT_GRACE_SECONDS = 2.0
#: A killed child is gone within this time, or its server is stuck and is killed too.
_KILL_SECONDS = 2.0


#: Where the room is not limited.
_ENDLESS_BYTES = 2**60


class SandboxedDecoder:
    """A MediaDecoder that decodes every upload in a process of its own."""

    def __init__(
        self,
        *,
        max_audio_seconds: int,
        timeout_seconds: int,
        room: Callable[[], int] | None = None,
        python: str = sys.executable,
    ) -> None:
        """`room`: bytes that decoded audio may still take on its disk; None: as many as there are."""
        self._room = room or (lambda: _ENDLESS_BYTES)
        self._max_samples = max_audio_seconds * SAMPLE_RATE
        self._timeout_seconds = timeout_seconds
        self._python = python
        self._lock = threading.Lock()
        self._server: ServerProcess | None = None
        self._children: dict[str, int] = {}
        #: Jobs in each server, and servers that get no more of them.
        self._jobs: collections.Counter[ServerProcess] = collections.Counter()
        self._retired: set[ServerProcess] = set()
        self._closed = False

    def start(self) -> SandboxStatus:
        """Have the server running and say what it found out about its sandbox.

        Raises DecoderUnavailableError.
        """
        with self._lock:
            return self._running_server().sandbox

    def sandbox_status(self) -> SandboxStatus | None:
        """What the running server found out about its sandbox; None before the first start."""
        server = self._server
        return None if server is None else server.sandbox

    def pids(self) -> tuple[int, ...]:
        """The server's process id, then those of the children at work."""
        server = self._server
        return () if server is None else (server.pid, *self._children.values())

    def decode(
        self,
        upload: Path,
        pcm: Path,
        *,
        job_id: str,
        cancelled: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
        selection: AudioSelection = MIX,
    ) -> DecodedAudio:
        """Decode what is selected of `upload` into the new file `pcm`; progress gets the samples so far, about 4 times a second.

        Raises MediaError, LimitError, AudioRoomError, StorageFullError, JobCancelledError, DecoderUnavailableError,
        ShuttingDownError; `pcm` is gone then.
        """
        with _open_upload(upload) as source, _open_pcm(pcm) as target:
            try:
                job = _DecodeRun(job_id, source, target, cancelled, progress, selection)
                audio = build_audio(self._run(job), pcm, self._max_samples)
            except BaseException:
                pcm.unlink(missing_ok=True)
                raise
        return audio

    def renew(self) -> None:
        """Have the next job start a fresh server. The one there is ends after the jobs that it has."""
        with self._lock:
            server, self._server = self._server, None
            if server is not None:
                self._retired.add(server)
        self._end_retired()

    def close(self) -> None:
        """End the servers and whatever they are doing."""
        with self._lock:
            self._closed = True
            servers = self._retired | ({self._server} if self._server is not None else set())
            self._server, self._retired = None, set()
        for server in servers:
            server.end()

    def _run(self, job: _DecodeRun) -> Message:
        """The "done" message of the job; once more if the server was found dead."""
        try:
            return self._attempt(job)
        except LostBeforeStartError:
            logger.warning("decode_server_restarted", job_id=job.job_id)
        try:
            return self._attempt(job)
        except LostBeforeStartError:
            raise DecoderUnavailableError from None

    def _attempt(self, job: _DecodeRun) -> Message:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.settimeout(_POLL_SECONDS)
            with theirs:
                server = self._submit(job, theirs)
            try:
                return self._follow(job, server, ours)
            except BaseException:
                self._kill_child(
                    job, server
                )  # for whatever came from outside of the job; else it is gone already
                raise
            finally:
                self._children.pop(job.job_id, None)
                with self._lock:
                    self._jobs[server] -= 1
                self._end_retired()

    def _submit(self, job: _DecodeRun, report: socket.socket) -> ServerProcess:
        """Hand the job to the server. Raises LostBeforeStartError, DecoderUnavailableError."""
        message = {
            "type": "decode",
            "job_id": job.job_id,
            "max_samples": self._max_samples,
            "max_bytes": self._room(),
            "timeout_seconds": self._timeout_seconds,
            "selection": asdict(job.selection),
        }
        with self._lock:
            server = self._running_server()
            if server.sandbox.problem:
                raise DecoderUnavailableError(
                    f"The decoder's sandbox does not hold: {server.sandbox.problem}."
                )
            try:
                server.send(message, (job.source, job.target, report.fileno()))
            except ServerGoneError:
                self._drop(server)
                raise LostBeforeStartError from None
            self._jobs[server] += 1
            return server

    def _running_server(self) -> ServerProcess:
        """The server, started if need be. Call it with the lock held."""
        if self._closed:
            raise ShuttingDownError
        if self._server is None:
            self._server = start_server(self._python)
            logger.info(
                "decode_server_started", pid=self._server.pid, sandbox=self._server.sandbox.problem or "ok"
            )
        return self._server

    def _end_retired(self) -> None:
        """End the servers that have done the last of their jobs."""
        with self._lock:
            ended = {server for server in self._retired if not self._jobs[server]}
            self._retired -= ended
            for server in [server for server, count in self._jobs.items() if not count]:
                del self._jobs[server]
        for server in ended:
            server.end()

    def _drop(self, server: ServerProcess) -> None:
        """Forget a server that does not answer any more. Call it with the lock held."""
        if self._server is server:
            self._server = None
        self._retired.discard(server)
        server.kill()

    def _follow(self, job: _DecodeRun, server: ServerProcess, report: socket.socket) -> Message:
        """Wait for the end of the job, and end it early when it is cancelled or takes too long."""
        reports = Reports()
        deadline = time.monotonic() + self._timeout_seconds + _TIMEOUT_GRACE_SECONDS
        watch = _Watch(job, deadline, self._room)
        for message in iter_messages(report):
            if message is not None:
                self._take(job, reports, message)
            if watch.has_to_stop(broken=reports.broken):
                self._kill_child(job, server)
            elif watch.is_stuck():
                logger.error("decode_server_stuck", job_id=job.job_id, pid=server.pid)
                with self._lock:
                    self._drop(server)
        if self._closed:
            raise ShuttingDownError
        if watch.error is not None:
            raise watch.error
        if not reports.complete:
            self._drop_if_dead(server)
        return reports.result()

    def _take(self, job: _DecodeRun, reports: Reports, message: Message) -> None:
        reports.take(message)
        if message["type"] == "started" and isinstance(message.get("pid"), int):
            self._children[job.job_id] = message["pid"]
        elif message["type"] == "progress" and job.progress is not None:
            job.progress(reports.samples)

    def _drop_if_dead(self, server: ServerProcess) -> None:
        """After a job without a last message: its server has died, or it could not deliver its last message."""
        with self._lock:
            try:
                server.send({"type": "kill", "job_id": ""})
            except ServerGoneError:
                logger.warning("decode_server_died", pid=server.pid)
                self._drop(server)

    def _kill_child(self, job: _DecodeRun, server: ServerProcess) -> None:
        with self._lock, contextlib.suppress(ServerGoneError):
            server.send({"type": "kill", "job_id": job.job_id})


class _DecodeRun:
    """One decode call: open files of this process and what its caller gave."""

    def __init__(
        self,
        job_id: str,
        source: int,
        target: int,
        cancelled: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
        selection: AudioSelection,
    ) -> None:
        self.job_id = job_id
        self.source = source
        self.target = target
        self.cancelled = cancelled or (lambda: False)
        self.progress = progress
        self.selection = selection


class _Watch:
    """Decides when a job has to be stopped, and when stopping it has failed."""

    def __init__(self, job: _DecodeRun, deadline: float, room: Callable[[], int]) -> None:
        self._job = job
        self._deadline = deadline
        self._room = room
        self.error: TranscriberError | None = None

    def has_to_stop(self, *, broken: bool) -> bool:
        """True once: when the job is cancelled, out of time or of room, or its child talks nonsense."""
        if self.error is not None:
            return False
        if broken:
            self.error = DecoderCrashedError()
        elif self._job.cancelled():
            self.error = JobCancelledError()
        elif time.monotonic() > self._deadline:
            self.error = DecodeTimeoutError()
        elif self._room() <= 0:
            # Others write there, too: the child's own limit is what there was when it began.
            self.error = AudioRoomError()
        else:
            return False
        self._deadline = time.monotonic() + _KILL_SECONDS
        return True

    def is_stuck(self) -> bool:
        """True once per period for a stopped job that has outlived its time."""
        if self.error is None or time.monotonic() <= self._deadline:
            return False
        self._deadline = time.monotonic() + _KILL_SECONDS
        return True


@contextlib.contextmanager
def _open_upload(upload: Path) -> Iterator[int]:
    fd = os.open(upload, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_size == 0:
            raise EmptyUploadError
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _open_pcm(pcm: Path) -> Iterator[int]:
    """A new, empty file that only this service can read."""
    try:
        fd = os.open(pcm, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError from error
        raise
    try:
        yield fd
    finally:
        os.close(fd)
