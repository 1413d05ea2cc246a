"""The child that listens, as the service sees it: sound goes in, what was heard comes back, in the same order."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import ListenerError

logger = structlog.get_logger(__name__)

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_PASSED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
_START_SECONDS = 60.0
_END_SECONDS = 2.0

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """The child has worked on a message. of: open, audio, commit, clear or stop. boundaries: (started|stopped, sample).

    fault: why it had no effect; None: it had.
    """

    of: str
    samples: int = 0
    boundaries: tuple[tuple[str, int], ...] = ()
    fault: str | None = None


#: Is told what was heard of one session; None: the child is gone.
OnHeard = Callable[[Heard | None], None]


class Listener:
    """One child for all sessions; it is started for the first of them, and anew when it has died.

    Works with threads, and with gevent in their place.
    """

    def __init__(
        self, command: tuple[str, ...] = (sys.executable, "-P", "-m", "transcriber.live.child")
    ) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._child: ListenerProcess | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's; None while there is none."""
        return None if self._child is None else self._child.pid

    def open(self, session: str, on_heard: OnHeard) -> Ear:
        """An ear for a session. Raises ListenerError."""
        with self._lock:
            if self._closed:
                raise ListenerError("The service is stopping.")
            if self._child is None or not self._child.is_alive:
                self._child = ListenerProcess.start(self._command)
            child = self._child
            child.on_heard[session] = on_heard
        return Ear(child, session)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.end()


class Ear:
    """One session's end of the child. Calls may wait while the child is behind; raise ListenerError when it is gone."""

    def __init__(self, child: ListenerProcess, session: str) -> None:
        self._child = child
        self._session = session

    def set_up(self, path: Path, kind: str, rate: int, turns: Mapping[str, Any] | None) -> None:
        """The sound that follows is of this kind, and goes into the file at `path`."""
        told = None if turns is None else dict(turns)
        self._send({"type": "open", "path": str(path), "kind": kind, "rate": rate, "turns": told})

    def hear(self, audio: str) -> None:
        """Sound in base64."""
        self._send({"type": "audio", "audio": audio})

    def end_utterance(self, why: str) -> None:
        """commit, clear or stop."""
        self._send({"type": "end", "why": why})

    def close(self) -> None:
        """Nothing more comes of this session."""
        self._child.on_heard.pop(self._session, None)
        if self._child.is_alive:
            self._send({"type": "close"})

    def _send(self, message: Message) -> None:
        self._child.send(message | {"session": self._session})


class ListenerProcess:
    """A running child and our end of its socket."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self._process = process
        self._sock = sock
        self._send_lock = threading.Lock()
        self._ready = threading.Event()
        self.is_alive = True
        self.on_heard: dict[str, OnHeard] = {}
        threading.Thread(target=self._read, name="listener-reader", daemon=True).start()

    @classmethod
    def start(cls, command: tuple[str, ...]) -> ListenerProcess:
        """A child that is ready. Raises ListenerError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        os.set_blocking(theirs.fileno(), True)
        environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
        with theirs:
            try:
                process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=environment | {"PYTHONPATH": str(_PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise ListenerError(f"The child that listens can't be started: {error}.") from error
        child = cls(process, ours)
        if not child._ready.wait(_START_SECONDS) or not child.is_alive:
            child.end()
            raise ListenerError("The child that listens did not start.")
        logger.info("listener_ready", pid=child.pid)
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Raises ListenerError when the child is gone."""
        try:
            with self._send_lock:
                self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise ListenerError() from error

    def end(self) -> None:
        """Kill it, and reap it."""
        self._process.kill()
        self._process.wait(_END_SECONDS)

    def _read(self) -> None:
        """Thread: hand on what the child says, until it is gone; then tell every session."""
        try:
            with self._sock.makefile("rb") as lines:
                for line in lines:
                    self._dispatch(json.loads(line))
        except (OSError, ValueError) as error:
            logger.info("listener_lost", pid=self.pid, error=str(error))
        self.is_alive = False
        self._ready.set()
        self._process.kill()
        self._process.wait()
        self._sock.close()
        for on_heard in tuple(self.on_heard.values()):
            on_heard(None)

    def _dispatch(self, message: Message) -> None:
        if message["type"] == "ready":
            self._ready.set()
            return
        on_heard = self.on_heard.get(message["session"])
        if on_heard is None:
            return
        if message["type"] == "failed":
            on_heard(Heard(of=message["of"], fault=message["message"]))
            return
        boundaries = tuple((str(kind), int(sample)) for kind, sample in message["boundaries"])
        on_heard(Heard(of=message["of"], samples=int(message["samples"]), boundaries=boundaries))
