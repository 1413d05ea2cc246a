"""What a process asks of the kernel about its own life."""

from __future__ import annotations

import ctypes
import os
import signal

#: Options of prctl(2), by their names there.
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38


def call(option: int, value: int, address: int = 0) -> None:
    """prctl(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(word) for word in (value, address, 0, 0)]
    if libc.prctl(ctypes.c_int(option), *words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option} failed: {os.strerror(number)}")


def die_with_parent(parent_pid: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `sig` to this process when its parent ends.

    The kernel means the thread that forked; callers fork from a thread that lives as long as the process.
    """
    call(PR_SET_PDEATHSIG, sig)
    if os.getppid() != parent_pid:
        # The parent ended before the call took effect.
        os.kill(os.getpid(), sig)
