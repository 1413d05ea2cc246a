"""The decode child: forked from the server for one upload, it confines itself, decodes and exits."""

from __future__ import annotations

import fcntl
import io
import os
import resource
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from transcriber.domain.options import MIX, MOST_CHANNELS, AudioSelection
from transcriber.domain.ports import SAMPLE_BYTES

from ..messages import Message, encode_message
from .confinement import FIRST_FREE_FD, PCM_FD, REPORT_FD, SOURCE_FD, ProcessLimits, confine
from .decoding import decode_media
from .pcm import PcmSink
from .refusal import MediaRefusedError
from .seccomp import SeccompUnavailableError

#: Descriptors are moved up here before they are put in their places, so that none overwrites another.
_PARKING_FD = 100
_PROGRESS_SECONDS = 0.25
_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeWork:
    """What one child has to do."""

    max_samples: int
    max_bytes: int
    timeout_seconds: int
    address_space_bytes: int
    codecs: str
    server_pid: int
    selection: AudioSelection = MIX


def run_child(work: DecodeWork, descriptors: Sequence[int]) -> NoReturn:
    """Decode in this freshly forked process and exit. descriptors: upload, PCM, report socket."""
    code = 1
    try:
        _arrange_descriptors(descriptors)
        code = _decode_confined(work)
    finally:
        os._exit(code)  # no clean-up of the server's objects in here


def _decode_confined(work: DecodeWork) -> int:
    source = io.FileIO(SOURCE_FD, "rb")
    pcm = io.BufferedWriter(io.FileIO(PCM_FD, "wb"), _BUFFER_BYTES)
    limits = ProcessLimits(
        address_space_bytes=work.address_space_bytes,
        pcm_bytes=work.max_samples
        * SAMPLE_BYTES
        * (MOST_CHANNELS if work.selection.channels == "split" else 1),
        seconds=work.timeout_seconds,
    )
    try:
        confine(limits, work.server_pid)
    except SeccompUnavailableError:
        _report({"type": "error", "reason": "no_sandbox"})
        return 1
    _report(_outcome(source, PcmSink(pcm, work.max_samples, work.max_bytes), work))
    return 0


def _outcome(source: io.FileIO, sink: PcmSink, work: DecodeWork) -> Message:
    try:
        facts = decode_media(source, sink, work.codecs, _Progress(), work.selection)
    except MediaRefusedError as refusal:
        return {"type": "error", "reason": refusal.reason}
    except MemoryError:
        return {"type": "error", "reason": "out_of_memory"}
    except Exception:  # noqa: BLE001 - the end of a process; whatever a hostile file raised, it is unreadable
        return {"type": "error", "reason": "unreadable"}
    return {"type": "done", **facts}


class _Progress:
    """Sends the parent the progress of decoding, a few times a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def __call__(self, samples: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            _report({"type": "progress", "samples": samples})


def _report(message: Message) -> None:
    try:
        os.write(REPORT_FD, encode_message(message))
    except OSError:  # nobody waits for this job any more
        os._exit(1)


def _arrange_descriptors(descriptors: Sequence[int]) -> None:
    """Leave this process three files, and silence in place of the standard streams."""
    signal.set_wakeup_fd(-1)
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _PARKING_FD) for fd in descriptors]
    for place, fd in zip((SOURCE_FD, PCM_FD, REPORT_FD), parked, strict=True):
        os.dup2(fd, place)
    for standard in (1, 2):  # 0 is /dev/null
        os.dup2(0, standard)
    os.closerange(FIRST_FREE_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
