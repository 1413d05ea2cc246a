"""One owner per data folder: a lock that the kernel gives back when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ...domain.errors import ConfigError
from ...system.durable_files import unusable_folder


class StoreLock:
    """Holds `<folder>/owner.lock` from construction to release.

    The descriptor is close-on-exec, so children that exec do not keep the lock; take it in the process
    that uses the store, never before a fork.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError: store_in_use, data_dir_not_writable."""
        path = folder / "owner.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable_folder(folder, "WHISPER_DATA_DIR", error.strerror or str(error)) from error
        try:
            self._lock(folder)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the folder to the next owner. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise unusable_folder(folder, "WHISPER_DATA_DIR", error.strerror or str(error)) from error
            raise _in_use(folder, self._holder()) from error
        # The pid is a courtesy to whoever is refused; a full disk must not stop the owner.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _holder(self) -> int | None:
        """The holder's pid, if it has written it down already."""
        with suppress(ValueError):
            return int(os.pread(self._descriptor, 32, 0))
        return None


def _in_use(folder: Path, pid: int | None) -> ConfigError:
    holder = f"the process {pid}" if pid else "another process"
    return ConfigError(
        f"The data folder {folder} is in use by {holder}.",
        code="store_in_use",
        param="WHISPER_DATA_DIR",
        fix="Stop that process, or give this one its own folder with WHISPER_DATA_DIR.",
    )
