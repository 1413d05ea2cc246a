"""Disks that fail on command under a running service: single calls through a preloaded library or strace."""

from __future__ import annotations

import ctypes
import enum
import errno
import mmap
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SOURCE = Path(__file__).parents[1] / "data" / "disk_faults.c"

#: "from this call on, until it is disarmed"
FOR_EVER = 1 << 40


class Kind(enum.IntFlag):
    """Calls that may fail."""

    WRITE = 1
    SYNC = 2
    OPEN = 4
    NAME = 8
    #: Writes to files that end in .log: where a service's own output goes.
    LOG = 16


#: All that touch the data folder.
DATA = Kind.WRITE | Kind.SYNC | Kind.OPEN | Kind.NAME


@dataclass(frozen=True, slots=True)
class Fault:
    """Calls of these kinds fail from number `first` on, so many of them."""

    kinds: Kind
    error: int
    first: int
    times: int = 1

    def __str__(self) -> str:
        times = "all" if self.times == FOR_EVER else str(self.times)
        return f"{errno.errorcode[self.error]} at call {self.first} ({times}) of {self.kinds.name}"


class Disk(Protocol):
    """A disk that can be told to fail."""

    def arm(self, fault: Fault) -> None: ...

    def hits(self) -> int:
        """How many calls have failed since it was armed."""
        ...

    def disarm(self) -> None: ...


class _Control(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("kinds", "error", "first", "times", "calls", "hits")]


class PreloadedDisk:
    """Fails calls on files under one folder, whichever thread or process makes them."""

    def __init__(self, folder: Path, under: Path) -> None:
        self._library = folder / "disk_faults.so"
        subprocess.run(
            ["gcc", "-O1", "-w", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"],
            check=True,
        )
        self._page = folder / "disk_faults.page"
        self._page.write_bytes(bytes(4096))
        self._under = under
        with self._page.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self._control = _Control.from_buffer(self._map)

    @property
    def env(self) -> dict[str, str]:
        """What the server is to be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "DISK_FAULTS": str(self._page),
            "DISK_FAULTS_UNDER": str(self._under.resolve()),
        }

    def arm(self, fault: Fault) -> None:
        control = self._control
        control.kinds = control.calls = control.hits = 0
        control.error, control.first, control.times = fault.error, fault.first, fault.times
        control.kinds = int(fault.kinds)

    def calls(self) -> int:
        """How many calls of the armed kinds there were."""
        return int(self._control.calls)

    def hits(self) -> int:
        return int(self._control.hits)

    def disarm(self) -> None:
        self._control.kinds = 0


class StracedDisk:
    """Fails system calls of one process through strace, which counts them by thread.

    Only calls that it makes on files alone: strace can't tell a file's write(2) from that on gevent's eventfd.
    """

    SYSCALLS = {
        Kind.WRITE: "pwrite64,ftruncate",
        Kind.SYNC: "fsync,fdatasync",
        Kind.OPEN: "openat",
        Kind.NAME: "?mkdir,?mkdirat,?rename,?renameat,?renameat2",
    }

    def __init__(self, folder: Path, pid: int) -> None:
        self._log = folder / "strace.log"
        self._pid = pid
        self._strace: subprocess.Popen[bytes] | None = None

    def arm(self, fault: Fault) -> None:
        self._log.write_bytes(b"")
        names = ",".join(
            self.SYSCALLS[kind] for kind in Kind if kind in fault.kinds and kind in self.SYSCALLS
        )
        last = "+" if fault.times == FOR_EVER else f"..{fault.first + fault.times - 1}"
        inject = f"inject={names}:error={errno.errorcode[fault.error]}:when={fault.first}{last}"
        command = ["strace", "-f", "-qq", "-p", str(self._pid), "-o", str(self._log), "-e", f"trace={names}"]
        self._strace = subprocess.Popen([*command, "-e", inject], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._is_attached():
            if time.monotonic() > deadline or self._strace.poll() is not None:
                raise RuntimeError(f"strace can't attach to {self._pid}: {' '.join(command)}")
            time.sleep(0.02)

    def hits(self) -> int:
        return len(re.findall(r"\(INJECTED\)", self._log.read_text(errors="replace")))

    def disarm(self) -> None:
        if self._strace is not None:
            self._strace.send_signal(signal.SIGTERM)
            self._strace.wait(20)
            self._strace = None

    def _is_attached(self) -> bool:
        tasks = list(Path(f"/proc/{self._pid}/task").iterdir())
        return all(re.search(r"TracerPid:\t[1-9]", (task / "status").read_text()) for task in tasks)


def missing_tool(*tools: str) -> str | None:
    """A tool that is needed and not there."""
    return next((tool for tool in tools if shutil.which(tool) is None), None)


def can_mount() -> bool:
    """Whether this process may mount file systems."""
    return os.geteuid() == 0 and shutil.which("mount") is not None
