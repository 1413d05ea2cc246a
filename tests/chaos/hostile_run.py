"""Runs hostile files through a decoder while it watches: calls to the kernel, memory, and how each file ends."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hostile_media import REFUSED, HostileFile
from transcriber.domain.errors import AudioTooLongError, LimitError, MediaError, TranscriberError
from transcriber.media.decoder import SandboxedDecoder

#: What the issue allows the process tree on top of its base.
ALLOWED_GROWTH_BYTES = 300 * 1000 * 1000

#: Calls that open a file, make or use a socket's address, or start a process.
_WATCHED = "open,openat,openat2,creat,socket,connect,bind,accept,accept4,execve,execveat,sendto,io_uring_setup,ptrace"

#: How strace shows the server's first message.
READY = r"{\"type\":\"ready\""

#: Any watched call but the server's own messages.
_CALL = re.compile(r"^\d+ +(?!sendto)\w+\(")

#: Looking for a table of an old character set in vain. An strace without privileges can't read the names that
#: a confined child gives, and shows their address.
_CHARACTER_TABLE = re.compile(r'openat\(AT_FDCWD, ("[^"]*/gconv[^"]*"|0x[0-9a-f]+), [A-Z_|]+\) = -1 EPERM')


@dataclass
class Tally:
    """How the files of a run ended."""

    codes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest_name: str = ""
    files: int = 0


def run_files(decoder: SandboxedDecoder, files: Iterable[HostileFile], pcm: Path) -> Tally:
    """Decode each file; every one has to end in a result or in an error of ours that blames the file."""
    counts = Tally()
    for number, file in enumerate(files):
        start = time.monotonic()
        code = _end_of(decoder, file, pcm, f"hostile-{number}", counts)
        seconds = time.monotonic() - start
        counts.files += 1
        counts.codes[f"{file.kind}: {code}"] += 1
        if seconds > counts.slowest_seconds:
            counts.slowest_seconds, counts.slowest_name = seconds, file.name
        if file.kind == "reference" and "quicktime" not in file.name and code not in REFUSED:
            counts.failures.append(f"{file.name} ended in {code}")
        if file.kind == "bomb" and code != AudioTooLongError.code:
            counts.failures.append(f"{file.name} ended in {code}")
    return counts


def _end_of(decoder: SandboxedDecoder, file: HostileFile, pcm: Path, job_id: str, counts: Tally) -> str:
    try:
        decoder.decode(file.path, pcm, job_id=job_id)
    except (MediaError, LimitError) as error:
        if error.code == "decoder_crashed":  # contained, but we want to hear of it
            print(f"crashed in its sandbox: {file.name}", file=sys.stderr)
        return error.code
    except TranscriberError as error:
        counts.failures.append(f"{file.name} ended in {error.code}")
        return error.code
    return "decoded"


class TreeMemory:
    """Measures the most memory that a decoder's processes take together, in a thread of its own."""

    def __init__(self, decoder: SandboxedDecoder) -> None:
        self._decoder = decoder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.base_bytes = 0
        self.peak_bytes = 0

    def __enter__(self) -> TreeMemory:
        self.base_bytes = self.peak_bytes = tree_bytes(self._decoder)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth_bytes(self) -> int:
        return self.peak_bytes - self.base_bytes

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, tree_bytes(self._decoder))


def tree_bytes(decoder: SandboxedDecoder) -> int:
    """Memory of the decode server and its children; shared pages once where the kernel tells, else several times."""
    return sum(_process_bytes(pid) for pid in decoder.pids())


def _process_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) * 1024  # type: ignore[index]
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@dataclass(frozen=True)
class SystemCallLog:
    """A Python that runs under strace, and what it was seen to do."""

    python: str
    path: Path

    def forbidden_calls(self) -> list[str]:
        """Watched calls since the server said that it was ready; tried or done makes no difference.

        Two kinds are left out: the server's messages, and the C library looking for a table of an old
        character set (MPEG transport streams name their programme in one), which it is refused.
        """
        calls = _join_interrupted(self.path.read_text(errors="replace").splitlines())
        ready = next(i for i, call in enumerate(calls) if READY in call)
        return [c for c in calls[ready + 1 :] if _CALL.search(c) and not _CHARACTER_TABLE.search(c)]


def _join_interrupted(lines: list[str]) -> list[str]:
    """strace's lines, with those put together that another process came in between."""
    begun: dict[str, str] = {}
    calls = []
    for line in lines:
        pid = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
        elif "resumed>" in line and pid in begun:
            calls.append(begun.pop(pid) + line.partition("resumed>")[2])
        else:
            calls.append(line)
    return calls + list(begun.values())


def watch_system_calls(folder: Path) -> SystemCallLog | None:
    """A Python under strace, or None where there is no strace, or none that works."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    log, program = folder / "strace.log", folder / "traced-python"
    command = [strace, "-f", "-qq", "-s", "80", "-o", str(log), "-e", f"trace={_WATCHED}", sys.executable]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o700)
    return SystemCallLog(str(program), log)
