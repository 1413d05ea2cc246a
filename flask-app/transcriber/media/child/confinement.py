"""What a decode child takes from itself before it looks at an upload: memory, time, files, privileges."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass

from ...system import prctl
from . import seccomp

#: Address space a child may add to what it was forked with. The whole tree stays within 300 MB of its
#: base with one such child, counted without shared pages.
HEADROOM_BYTES = 224 * 1024 * 1024

#: Where a child finds its three files; above them there is nothing.
SOURCE_FD, PCM_FD, REPORT_FD = 3, 4, 5
FIRST_FREE_FD = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessLimits:
    """What one child may use."""

    address_space_bytes: int
    pcm_bytes: int
    seconds: int


def confine(limits: ProcessLimits, parent_pid: int) -> None:
    """Bind this process to its limits and to the system calls of `seccomp`; there is no way back.

    Raises SeccompUnavailableError, in which case nothing may be decoded.
    """
    seccomp.call_prctl(prctl.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the server died between the fork and the line above
        os._exit(1)
    seccomp.call_prctl(prctl.PR_SET_DUMPABLE, 0)
    seccomp.call_prctl(prctl.PR_SET_NO_NEW_PRIVS, 1)
    for kind, soft, hard in _resource_limits(limits):
        resource.setrlimit(kind, (soft, hard))
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(limits.seconds)
    seccomp.install_filter()


def _resource_limits(limits: ProcessLimits) -> list[tuple[int, int, int]]:
    """Kind, soft and hard limit of each resource."""
    cpu = limits.seconds + 1  # the alarm comes first; this is for a clock that stands still
    return [
        (resource.RLIMIT_AS, limits.address_space_bytes, limits.address_space_bytes),
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, limits.pcm_bytes, limits.pcm_bytes),
        (resource.RLIMIT_NOFILE, FIRST_FREE_FD, FIRST_FREE_FD),
        (resource.RLIMIT_CORE, 0, 0),
    ]
