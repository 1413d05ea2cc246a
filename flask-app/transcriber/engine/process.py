"""One child process of the engine: its start, its last words and its end. Knows nothing of messages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence

import structlog

from ..system.paths import PACKAGE_PARENT

_log = structlog.get_logger()

#: Signals that a process brings upon itself.
_FAULT_SIGNALS = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)

_LAST_WORDS_BYTES = 4096
_LINE_BYTES = 2048


class LastOutput:
    """The newest lines a process wrote to its standard error, about 4 kB of them."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Keep this line, and forget the oldest ones that no longer fit."""
        with self._lock:
            self._lines.append(line)
            self._size += len(line)
            while self._size > _LAST_WORDS_BYTES and len(self._lines) > 1:
                self._size -= len(self._lines.popleft())

    def __str__(self) -> str:
        with self._lock:
            return "\n".join(self._lines)

    def brief(self) -> str:
        """The end of them in one line, for a message; empty when nothing was said."""
        return str(self).strip().replace("\n", " | ")[-600:]


class EngineProcess:
    """A running child with one end of a socket pair. It leads its own process group.

    Under gevent it is to be started from the main thread, like every process there.
    """

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self._process = process
        self.sock = sock
        self.last_words = LastOutput()
        self._stderr_reader = threading.Thread(
            target=self._read_stderr, name=f"engine-{process.pid}-stderr", daemon=True
        )
        self._stderr_reader.start()

    @classmethod
    def start(cls, command: Sequence[str], config: str, environment: Mapping[str, str]) -> EngineProcess:
        """Start `command` with the socket's number and the configuration as last arguments. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # gevent makes sockets non-blocking, a state that the child would inherit without knowing.
            os.set_blocking(theirs.fileno(), True)
            process = subprocess.Popen(
                [*command, str(theirs.fileno()), config],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_with_package(environment),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def died_by_fault(self) -> bool:
        """Whether it ended by a fault of its own; a process that was killed from outside did not."""
        code = self._process.returncode
        return code is not None and (code > 0 or -code in _FAULT_SIGNALS)

    def wait(self, timeout: float) -> bool:
        """Whether the process ended within `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if self.is_running:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def hang_up(self) -> None:
        """Shut the socket down, so that its reader wakes up and closes it."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def obituary(self) -> str:
        """How the process ended, with its last words. Call it after the end."""
        # What it wrote is in the pipe until the reader has had its turn.
        self._stderr_reader.join(1.0)
        how = describe_exit(self._process.returncode)
        words = self.last_words.brief()
        return f"{how}; its last words: {words}" if words else f"{how}, without a word"

    def _read_stderr(self) -> None:
        """Thread: log each line and keep the last ones, until the pipe closes."""
        pipe = self._process.stderr
        if pipe is None:
            return
        try:
            while line := pipe.readline(_LINE_BYTES):
                text = line.decode(errors="replace").rstrip()
                self.last_words.add(text)
                _log.info("engine_stderr", engine_pid=self._process.pid, line=text)
        except (OSError, ValueError) as error:
            _log.warning("engine_stderr_unreadable", engine_pid=self._process.pid, error=str(error))
        finally:
            pipe.close()


def describe_exit(returncode: int | None) -> str:
    """An exit status in words."""
    if returncode is None:
        return "it did not end"
    if returncode >= 0:
        return f"it ended with exit code {returncode}"
    try:
        return f"it was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"it was killed by signal {-returncode}"


def _with_package(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with this package's folder first on PYTHONPATH."""
    paths = [str(PACKAGE_PARENT), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
