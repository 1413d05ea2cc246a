"""What this machine lets us have of its memory, and what our processes take of it, by /proc and the cgroups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MEGABYTE = 1_000_000

#: Left to the web process, the decoder and everybody else; but never more than half of all.
_RESERVE_BYTES = 768 * MEGABYTE
_SHARE = 0.8


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process and its children may have: the machine's, or what a cgroup leaves of it; None: unknown."""
    known = [size for size in (_machine_bytes(root), *_cgroup_limits(root)) if size]
    return min(known, default=None)


def automatic_budget(limit: int | None) -> int | None:
    """Bytes for engines on the CPU where no setting says so: four fifths, less if that leaves others too little."""
    if limit is None:
        return None
    return max(int(min(limit * _SHARE, limit - _RESERVE_BYTES)), limit // 2)


def peak_bytes(pid: int) -> int | None:
    """The most that this process has held at once (VmHWM); None: it is gone."""
    return _status_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int | None:
    """What this process holds now (VmRSS); None: it is gone."""
    return _status_bytes(pid, "VmRSS")


def _status_bytes(pid: int, name: str) -> int | None:
    return _kilobytes(Path("/proc") / str(pid) / "status", name)


def _machine_bytes(root: Path) -> int | None:
    return _kilobytes(root / "proc" / "meminfo", "MemTotal")


def _kilobytes(path: Path, name: str) -> int | None:
    """The bytes of a line such as 'VmHWM:   1234 kB'."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _cgroup_limits(root: Path) -> Iterator[int]:
    """The limits of our cgroup and of those it is in; version 2, then 1."""
    base = root / "sys" / "fs" / "cgroup"
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, kinds, path = line.split(":", 2)
        folder = base if not kinds else base / "memory"
        name = "memory.max" if not kinds else "memory.limit_in_bytes"
        if kinds and "memory" not in kinds.split(","):
            continue
        # In a container the path is often that of the host, while its own limit stands at the top.
        for place in (folder, *_steps(folder, path)):
            for text in _lines(place / name):
                if text.strip().isdigit():
                    yield int(text)


def _steps(folder: Path, path: str) -> Iterator[Path]:
    for part in Path(path.lstrip("/")).parts:
        folder = folder / part
        yield folder


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
