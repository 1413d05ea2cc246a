"""The parent's handle on one decode server process: start it, send it work, end it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from transcriber.domain.errors import DecoderUnavailableError
from transcriber.system.paths import PACKAGE_PARENT

from .messages import MAX_MESSAGE_BYTES, Message, MessageError, encode_message, parse_message

#: The folder that holds the package `transcriber`.

#: All that a decode server gets of our environment; keys and other secrets are none of its business.
_PASSED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")

_START_SECONDS = 60
_SEND_SECONDS = 5
_END_SECONDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxStatus:
    """What the decode server found out about the sandbox. problem: '' when all of it holds."""

    seccomp: bool
    problem: str
    machine: str
    headroom_bytes: int


class ServerGoneError(Exception):
    """The decode server does not take messages any more."""


class ServerProcess:
    """A running decode server. Not safe for use by several threads at once: callers hold a lock."""

    def __init__(
        self, process: subprocess.Popen[bytes], control: socket.socket, sandbox: SandboxStatus
    ) -> None:
        self._process = process
        self._control = control
        self.sandbox = sandbox

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send one request with these open files. Raises ServerGoneError."""
        try:
            socket.send_fds(self._control, [encode_message(message)], list(descriptors))
        except OSError as error:
            raise ServerGoneError from error

    def end(self) -> None:
        """Close the socket, on which the server ends its children and itself; kill it if it does not."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server at once. The kernel ends its children with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)


def start_server(python: str) -> ServerProcess:
    """Start a decode server and wait until it is ready. Raises DecoderUnavailableError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = subprocess.Popen(
                [python, "-P", "-m", "transcriber.media.child.server_start", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
            )
        except OSError as error:
            ours.close()
            raise DecoderUnavailableError(f"The decode server can't be started: {error.strerror}.") from error
    try:
        return ServerProcess(process, ours, _receive_ready(ours))
    except (OSError, MessageError) as error:
        process.kill()
        process.wait()
        ours.close()
        cause = error.cause if isinstance(error, _NotReadyError) else "the log has its last words"
        raise DecoderUnavailableError(f"The decode server did not become ready: {cause}.") from error


class _NotReadyError(MessageError):
    """The decode server says why it can't work."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def _receive_ready(control: socket.socket) -> SandboxStatus:
    control.settimeout(_START_SECONDS)
    message = parse_message(control.recv(MAX_MESSAGE_BYTES))
    control.settimeout(_SEND_SECONDS)
    if message["type"] == "failed":
        raise _NotReadyError(str(message.get("problem"))[:300].rstrip("."))
    return SandboxStatus(**message["sandbox"])


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    return {**passed, "PYTHONPATH": str(PACKAGE_PARENT), "PYTHONDONTWRITEBYTECODE": "1"}
