"""Whether a model's files are the pinned ones: SHA-256, remembered by path, size, time and inode."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from ..system.durable_files import make_private

_log = structlog.get_logger()

_CHUNK_BYTES = 1 << 20

#: A memory larger than this was not written by us.
_MEMORY_LIMIT_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class Verifier:
    """Checks files against pinned hashes, and remembers what it hashed in one small JSON file.

    Hashing a large model takes many seconds of CPU: under gevent, call it from a native thread.
    """

    def __init__(self, memory: Path | None) -> None:
        """memory None: nothing is remembered; every file is read, and none is written."""
        self._memory = memory

    def mismatches(self, folder: Path, pinned: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the pinned files that are missing or have another hash."""
        known = self._read()
        wrong = tuple(
            name for name, expected in sorted(pinned.items()) if _hash(folder / name, known) != expected
        )
        if self._memory is not None and known != self._read():
            self._write(self._memory, known)
        return wrong

    def is_remembered(self, folder: Path, pinned: Mapping[str, str]) -> bool:
        """Whether all pinned files were hashed before, with the right result, and are unchanged since."""
        known = self._read()
        return all(_remembered(folder / name, known) == expected for name, expected in pinned.items())

    def _read(self) -> dict[str, Any]:
        if self._memory is None:
            return {}
        try:
            if self._memory.stat().st_size > _MEMORY_LIMIT_BYTES:
                return {}
            loaded = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def _write(self, memory: Path, known: Mapping[str, Any]) -> None:
        """Replace the memory. It only saves time, so a folder that can't be written is no error."""
        present = {path: entry for path, entry in known.items() if Path(path).exists()}
        try:
            make_private(memory.parent)
            handle, name = tempfile.mkstemp(dir=memory.parent, prefix=f"{memory.name}.")
            os.fchmod(handle, 0o644)
            with os.fdopen(handle, "w") as file:
                json.dump(present, file, indent=1, sort_keys=True)
            os.replace(name, memory)
        except OSError as error:
            _log.info("verification_not_remembered", path=str(memory), error=str(error))


def _key(path: Path) -> str:
    """The name a file is remembered under; symbolic links, as in the hub's cache, are kept."""
    return os.path.abspath(path)


def _state(path: Path) -> list[int] | None:
    """What changes when the file's content does; None when there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _remembered(path: Path, known: Mapping[str, Any]) -> str | None:
    entry = known.get(_key(path))
    state = _state(path)
    if state is None or not isinstance(entry, dict) or entry.get("state") != state:
        return None
    sha256 = entry.get("sha256")
    return sha256 if isinstance(sha256, str) else None


def _hash(path: Path, known: dict[str, Any]) -> str | None:
    """The file's hash, from memory if it may be; adds it to `known`. None when it can't be read."""
    remembered = _remembered(path, known)
    if remembered is not None:
        return remembered
    # The state is taken before reading: a file that changes meanwhile is hashed again next time.
    state = _state(path)
    try:
        sha256 = sha256_of(path)
    except OSError:
        return None
    known[_key(path)] = {"state": state, "sha256": sha256}
    return sha256
