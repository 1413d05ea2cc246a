"""Processes as /proc shows them: whether one runs here, its name, and whose descendant it is."""

from __future__ import annotations

from pathlib import Path

#: No family is deeper than this; a longer chain is a loop that changed while it was read.
_DEEPEST = 64


def runs_here(pid: int) -> bool:
    """Whether a process of this number exists in this PID namespace."""
    return Path(f"/proc/{pid}").exists()


def name_of(pid: int) -> str:
    """The name of its program, at most 15 characters; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def is_descendant(pid: int, ancestor: int) -> bool:
    """Whether it is this process or one that it started, directly or not."""
    for _ in range(_DEEPEST):
        if pid == ancestor:
            return True
        parent = _find_parent(pid)
        if not parent:
            return False
        pid = parent
    return False


def _find_parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])
