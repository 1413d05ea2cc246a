"""Proof at start that the sandbox holds here and that decoding works inside it."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import wave
from collections.abc import Callable

from ..messages import MAX_MESSAGE_BYTES, Message, parse_message
from .confinement import ProcessLimits, confine
from .decode_process import DecodeWork, run_child
from .decoding import decode_media
from .pcm import PcmSink
from .seccomp import SeccompUnavailableError

_SECONDS = 10
_SAMPLES = 1600

#: A test whose process is killed from outside proves nothing; it is repeated this often at most.
_TRIES = 5


class _KilledError(Exception):
    """Somebody, or the kernel for want of memory, killed a process of the test."""


def find_problem(work: DecodeWork) -> str:
    """What is wrong with the sandbox on this machine, or '' when it holds."""
    for _ in range(_TRIES):
        try:
            return _find_leak(work) or _find_decoding_problem(work)
        except _KilledError:
            continue
    return "the processes that test it were killed"


def warm_up(codecs: str) -> None:
    """Decode the same WAV here, so that a child finds everything loaded. No thread may be left behind."""
    sink = PcmSink(io.BytesIO(), _SAMPLES)
    decode_media(io.BytesIO(_make_wave(rate=8_000)), sink, codecs, lambda samples: None)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"the decode server has {threads} threads and can't fork safely")


def _find_leak(work: DecodeWork) -> str:
    """Fork, confine, and try what a decode child must not be able to do."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, _try_forbidden(work).encode() or b"ok")
        finally:
            os._exit(0)
    os.close(writer)
    answer = os.read(reader, 4096).decode()
    os.close(reader)
    _wait(pid)
    if not answer:
        return "the confined process died"
    return "" if answer == "ok" else answer


def _try_forbidden(work: DecodeWork) -> str:
    limits = ProcessLimits(
        address_space_bytes=work.address_space_bytes, pcm_bytes=_SAMPLES * 2, seconds=_SECONDS
    )
    try:
        confine(limits, work.server_pid)
    except SeccompUnavailableError as error:
        return str(error)
    attempts: dict[str, Callable[[], object]] = {
        "open a file": lambda: os.open("/", os.O_RDONLY),
        "make a socket": lambda: socket.socket(socket.AF_INET),
        "start a process": os.fork,
        "send a signal": lambda: os.kill(os.getppid(), 0),
    }
    return ", ".join(
        f"a child could {what}" for what, attempt in attempts.items() if not _is_refused(attempt)
    )


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        return error.errno == errno.EPERM
    return False


def _find_decoding_problem(work: DecodeWork) -> str:
    """Decode a short WAV as a job would; this also loads whatever PyAV loads at first use."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _memory_file(_make_wave()) as upload, _memory_file(b"") as pcm, ours:
        pid = os.fork()
        if pid == 0:
            run_child(work, (upload.fileno(), pcm.fileno(), theirs.fileno()))
        theirs.close()
        message = _last_message(ours)
        _wait(pid)
        if message is None:
            return "the decode child died on a plain WAV file"
    if message.get("samples") == _SAMPLES:
        return ""
    return f"a plain WAV file was not decoded ({message.get('reason')})"


def _last_message(ours: socket.socket) -> Message | None:
    """The decode child's result; on a busy machine it says before how far it is."""
    while data := ours.recv(MAX_MESSAGE_BYTES):
        message = parse_message(data)
        if message.get("type") != "progress":
            return message
    return None


def _wait(pid: int) -> None:
    """Return when this child has ended. Raises _KilledError."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        raise _KilledError


def _make_wave(rate: int = 16_000) -> bytes:
    """A short silence as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(_SAMPLES * 2 * rate // 16_000))
    return buffer.getvalue()


def _memory_file(content: bytes) -> io.FileIO:
    file = io.FileIO(os.memfd_create("selftest"), "r+b")
    file.write(content)
    file.seek(0)
    return file
