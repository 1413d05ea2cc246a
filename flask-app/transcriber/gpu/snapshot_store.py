"""The snapshots of the last starts, one small file each. Blocks on fsync: run it natively."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from .snapshot import Snapshot, parse

#: A file larger than this was not written by us.
_LIMIT_BYTES = 1 << 20


class SnapshotStore:
    """Keeps the last snapshots in a folder. A file is there whole or not at all."""

    def __init__(self, folder: Path, keep: int = 20) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, snapshot: Snapshot, taken_at: datetime) -> Path:
        """Put it on disk as the newest, and drop the oldest. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{taken_at:%Y%m%dT%H%M%S.%fZ}-{snapshot.digest[:12]}.json"
        _write_whole(self._folder / name, snapshot.canonical.encode() + b"\n")
        for path in self._paths()[: -self._keep]:
            path.unlink(missing_ok=True)
        return self._folder / name

    def last(self) -> Snapshot | None:
        """The newest that can be read; None before the first start."""
        return next((found for path in reversed(self._paths()) if (found := _read(path))), None)

    def __len__(self) -> int:
        return len(self._paths())

    def _paths(self) -> list[Path]:
        """The files by age: their names begin with the time, in UTC."""
        return sorted(self._folder.glob("[0-9]*.json"))


def _read(path: Path) -> Snapshot | None:
    """The snapshot in a file; None for one that is damaged or was not written by us."""
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            return None
        return parse(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write_whole(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
