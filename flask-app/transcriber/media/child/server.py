"""The decode server: a warm, single-threaded process that forks one confined child for each upload.

server_start.py runs it. It never reads an upload itself. It ends when the control socket closes, and its children
with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import resource
import select
import signal
import socket
from dataclasses import dataclass, replace

from transcriber.domain.options import AudioSelection

from ..messages import MAX_MESSAGE_BYTES, Message, MessageError, encode_message, parse_message
from .confinement import HEADROOM_BYTES
from .decode_process import DecodeWork, run_child
from .decoding import audio_codecs
from .sandbox_check import find_problem, warm_up

#: Descriptors the server itself needs at most: one socket for each running child, and a few.
_MAX_FILES = 1024


@dataclass(frozen=True, slots=True)
class _Child:
    job_id: str
    report: socket.socket


class DecodeServer:
    """Takes requests, forks children, and says how each ended."""

    def __init__(self, control: socket.socket, work: DecodeWork) -> None:
        self._control = control
        self._work = work
        self._children: dict[int, _Child] = {}

    def serve(self) -> None:
        """Work until the control socket closes."""
        wakeup, wakeup_writer = _watch_children()
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(wakeup, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in poller.poll()}
                if wakeup.fileno() in ready:
                    wakeup.recv(4096)
                    self._reap()
                if self._control.fileno() in ready and not self._take_request():
                    return
        finally:
            signal.set_wakeup_fd(-1)
            wakeup_writer.close()
            self._kill_all()

    def _take_request(self) -> bool:
        """Handle one message; False when the parent is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 3)
        except ConnectionError:
            return False
        if not data:
            return False
        try:
            self._handle(parse_message(data), descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)
        return True

    def _handle(self, message: Message, descriptors: list[int]) -> None:
        if message["type"] == "decode" and len(descriptors) == 3:
            self._start(message, descriptors)
        elif message["type"] == "kill":
            for pid, child in self._children.items():
                if child.job_id == message["job_id"]:
                    os.kill(pid, signal.SIGKILL)
        else:
            raise MessageError("unknown request")

    def _start(self, message: Message, descriptors: list[int]) -> None:
        work = replace(
            self._work,
            max_samples=message["max_samples"],
            max_bytes=message["max_bytes"],
            timeout_seconds=message["timeout_seconds"],
            selection=AudioSelection(**message["selection"]),
        )
        report = socket.socket(fileno=os.dup(descriptors[2]))
        try:
            pid = os.fork()
        except OSError:
            _send(report, {"type": "unstarted"})
            report.close()
            return
        if pid == 0:
            run_child(work, descriptors)
        self._children[pid] = _Child(message["job_id"], report)
        _send(report, {"type": "started", "pid": pid})

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                _send(child.report, {"type": "exited", "returncode": os.waitstatus_to_exitcode(status)})
                child.report.close()

    def _kill_all(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)


def serve(control: socket.socket) -> None:
    """Get ready, say so on the control socket, and work until it closes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent ends us, after its last job
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))
    _volunteer_for_oom()
    codecs = audio_codecs()
    warm_up(codecs)
    work = DecodeWork(
        max_samples=16_000,
        max_bytes=32_000,
        timeout_seconds=10,
        address_space_bytes=_address_space_bytes() + HEADROOM_BYTES,
        codecs=codecs,
        server_pid=os.getpid(),
    )
    gc.collect()
    gc.freeze()  # children share these pages for longer
    problem = find_problem(work)
    sandbox = {
        "seccomp": not problem,
        "problem": problem,
        "machine": platform.machine(),
        "headroom_bytes": HEADROOM_BYTES,
    }
    _send(control, {"type": "ready", "pid": os.getpid(), "sandbox": sandbox})
    DecodeServer(control, work).serve()


def _watch_children() -> tuple[socket.socket, socket.socket]:
    """A socket that becomes readable when a child ends, and its other end."""
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    return reader, writer


def _send(sock: socket.socket, message: Message) -> None:
    """Send, unless the other side is gone or does not read; the server never waits for a client."""
    with contextlib.suppress(OSError):
        sock.send(encode_message(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _volunteer_for_oom() -> None:
    """When memory runs out, let the kernel end a decode child before anything else of the service."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _address_space_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
