"""The processes of one server by their roles, and killing them one at a time."""

from __future__ import annotations

import enum
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


class Role(enum.StrEnum):
    """What a process of the service is there for."""

    MASTER = "master"
    WORKER = "worker"
    ENGINE = "engine"
    DECODE_SERVER = "decode server"
    MEDIA_CHILD = "media child"


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a server."""

    pid: int
    role: Role


def members(master: int) -> list[Member]:
    """Every process of this server that has a role, the master first."""
    children = _children()
    found = [Member(master, Role.MASTER)]
    todo = list(found)
    while todo:
        parent = todo.pop()
        for pid in children.get(parent.pid, ()):
            role = _role(parent.role, pid)
            if role is not None:
                found.append(Member(pid, role))
                todo.append(found[-1])
    return found


def find(master: int, role: Role) -> list[int]:
    """The processes of this server with this role."""
    return [member.pid for member in members(master) if member.role is role]


def kill(master: int, pid: int, number: int = signal.SIGKILL) -> bool:
    """Signal a process of this server; False if it is gone. Never signals a stranger that got its number."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_below(master, pid):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    fields = _stat(pid)
    return fields is None or fields[0] in "ZX"


def _role(parent: Role, pid: int) -> Role | None:
    if parent is Role.DECODE_SERVER:
        return Role.MEDIA_CHILD
    command = _command(pid)
    if parent is Role.MASTER and "gunicorn" in command:
        return Role.WORKER
    if parent is Role.WORKER and "transcriber.media.child.server" in command:
        return Role.DECODE_SERVER
    if parent is Role.WORKER and ("transcriber.engine.child.main" in command or "standin_engine" in command):
        return Role.ENGINE
    return None


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for name in os.listdir(_PROC):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is not None and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    return children


def _is_below(master: int, pid: int) -> bool:
    while pid > 1:
        if pid == master:
            return True
        fields = _stat(pid)
        if fields is None:
            return False
        pid = int(fields[1])
    return False


def _stat(pid: int) -> list[str] | None:
    """State, parent and what follows in /proc/PID/stat."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
