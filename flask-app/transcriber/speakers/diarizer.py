"""The diarizer as the service sees it: PCM goes to a child process of its own, turns come back.

Messages are JSON objects, one a line, on a Unix stream socket:

to the child
  diarize       pcm_path, samples, min_speakers|null, max_speakers|null, references[[pcm_path, samples]]

from the child
  ready         pid, device, provider, load_seconds       it has passed its self-test
  start_failed  code, message, fix                        then the child exits
  progress      part (0 to 1)
  done          turns[[speaker, start, end]], voices[[float]], references[reference|null of each speaker],
                silent_references[reference], seconds
  error         code, message                             the job failed; the child lives on

A closed socket ends the child. A job that is cancelled or takes too long ends it, too: the next one is started fresh.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import DiarizationError, JobCancelledError, ShuttingDownError
from ..domain.ports import SAMPLE_RATE, DecodedAudio
from ..domain.speakers import Diarization
from ..domain.word_speakers import Turn

logger = structlog.get_logger(__name__)

WEIGHTS = Path(__file__).resolve().parent / "weights"
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.2
_START_SECONDS = 120.0
#: A job takes no longer than this, and half of its audio's time: ten times what it should.
_LEAST_SECONDS = 120.0
_LONGEST_LINE = 64 * 1024 * 1024
_PASSED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class DiarizerConfig:
    """Where the models run, on how many threads, and after how many idle seconds the child is ended."""

    device: str = "cpu"
    threads: int = 1
    idle_seconds: float = 120.0
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "transcriber.speakers.child")
    weights: Path = WEIGHTS


class ChildDiarizer:
    """A Diarizer with one child, which serves one job at a time. Safe to use from any thread."""

    def __init__(self, config: DiarizerConfig) -> None:
        self._config = config
        self._work = threading.Lock()
        self._child: _DiarizerProcess | None = None
        self._idle: threading.Timer | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return None if self._child is None else self._child.pid

    def diarize(
        self,
        pcm: Path,
        samples: int,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        references: Sequence[DecodedAudio] = (),
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda part: None,
    ) -> Diarization:
        """Who speaks when in this PCM. Raises DiarizationError, JobCancelledError, ShuttingDownError."""
        while not self._work.acquire(timeout=_POLL_SECONDS):
            if cancelled():
                raise JobCancelledError()
        try:
            self._stop_timer()
            child = self._running_child(cancelled)
            child.send(
                {
                    "type": "diarize",
                    "pcm_path": str(pcm),
                    "samples": samples,
                    "min_speakers": minimum,
                    "max_speakers": maximum,
                    "references": [[str(audio.path), audio.samples] for audio in references],
                }
            )
            limit = _LEAST_SECONDS + 0.5 * samples / SAMPLE_RATE
            return self._follow(child, time.monotonic() + limit, cancelled, progress)
        except BaseException:
            # Whatever it was, a fresh child is the surest way on.
            self._end_child()
            raise
        finally:
            self._start_timer()
            self._work.release()

    def close(self) -> None:
        """End the child and whatever it is doing."""
        self._closed = True
        self._stop_timer()
        self._end_child()

    def _running_child(self, cancelled: Callable[[], bool]) -> _DiarizerProcess:
        if self._closed:
            raise ShuttingDownError()
        if self._child is not None and self._child.is_running:
            return self._child
        self._child = child = _DiarizerProcess.start(self._config)
        ready = child.first(time.monotonic() + _START_SECONDS, cancelled)
        if ready.get("type") != "ready" or ready.get("device") != self._config.device:
            raise DiarizationError(
                f"The child that tells speakers apart did not start: {ready.get('message', 'it ended')}",
                code=str(ready.get("code", "diarization_failed")),
                fix=str(ready.get("fix", "")),
            )
        child.provider = str(ready["provider"])
        logger.info("speakers_ready", pid=child.pid, provider=child.provider, seconds=ready["load_seconds"])
        return child

    def _follow(
        self,
        child: _DiarizerProcess,
        deadline: float,
        cancelled: Callable[[], bool],
        progress: Callable[[float], None],
    ) -> Diarization:
        for message in child.messages(deadline, cancelled):
            if message["type"] == "progress":
                progress(float(message["part"]))
            elif message["type"] == "done":
                return self._diarization(child, message)
            else:
                raise DiarizationError(f"The speakers could not be told apart: {message.get('message')}")
        if self._closed:
            raise ShuttingDownError()
        raise DiarizationError("The child that tells speakers apart ended in the middle of its work.")

    def _diarization(self, child: _DiarizerProcess, message: Message) -> Diarization:
        try:
            return Diarization(
                turns=tuple(
                    Turn(speaker=int(who), start=float(start), end=float(end))
                    for who, start, end in message["turns"]
                ),
                voices=tuple(tuple(map(float, voice)) for voice in message["voices"]),
                references=tuple(None if one is None else int(one) for one in message["references"]),
                silent_references=tuple(int(one) for one in message["silent_references"]),
                device=self._config.device,
                provider=child.provider,
                pid=child.pid,
                seconds=float(message["seconds"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DiarizationError(f"The answer about speakers can't be read: {error!r}") from error

    def _end_child(self) -> None:
        if (child := self._child) is not None:
            child.end()
            self._child = None

    def _start_timer(self) -> None:
        if self._closed or self._child is None:
            return
        self._idle = threading.Timer(self._config.idle_seconds, self._end_if_idle)
        self._idle.daemon = True
        self._idle.start()

    def _stop_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end_if_idle(self) -> None:
        if self._work.acquire(blocking=False):
            try:
                logger.info("speakers_idle", pid=self.pid)
                self._end_child()
            finally:
                self._work.release()


class _DiarizerProcess:
    """A running child and our end of its socket."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self._process = process
        self._sock = sock
        self._buffer = bytearray()
        self.provider = ""

    @classmethod
    def start(cls, config: DiarizerConfig) -> _DiarizerProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        os.set_blocking(theirs.fileno(), True)
        told = {"weights": str(config.weights), "device": config.device, "threads": config.threads}
        environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
        with theirs:
            try:
                process = subprocess.Popen(
                    [*config.command, str(theirs.fileno()), json.dumps(told)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=environment | {"PYTHONPATH": str(_PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise DiarizationError(
                    f"The child that tells speakers apart can't be started: {error}."
                ) from error
        ours.settimeout(_POLL_SECONDS)
        return cls(process, ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, message: Message) -> None:
        """Raises DiarizationError when the child is gone."""
        try:
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise DiarizationError("The child that tells speakers apart is gone.") from error

    def first(self, deadline: float, cancelled: Callable[[], bool]) -> Message:
        """The next message; an empty one at the end of the stream."""
        return next(self.messages(deadline, cancelled), {})

    def messages(self, deadline: float, cancelled: Callable[[], bool]) -> Iterator[Message]:
        """Until the stream ends. Raises JobCancelledError, and DiarizationError after the deadline."""
        while True:
            while (end := self._buffer.find(b"\n")) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                yield _parsed(line)
            if cancelled():
                raise JobCancelledError()
            if time.monotonic() > deadline:
                raise DiarizationError(
                    "Telling the speakers apart took too long.", code="diarization_timeout"
                )
            try:
                data = self._sock.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data or len(self._buffer) > _LONGEST_LINE:
                return
            self._buffer += data

    def end(self) -> None:
        """Kill it, and reap it."""
        self._process.kill()
        self._process.wait()
        self._sock.close()


def _parsed(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise DiarizationError("The child that tells speakers apart sent something that is no message.")
    return message
