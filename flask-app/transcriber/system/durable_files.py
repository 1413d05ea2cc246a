"""Files that are on disk when a call returns, whole or not at all. Blocks on fsync: run it natively."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..domain.errors import ConfigError, StorageFailedError, StorageFullError

#: Modes before the umask: for our user alone, or as the umask says.
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
SHARED_FILE, SHARED_FOLDER = 0o666, 0o777

_SECRET_BYTES = 32

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: A disk with less room is full: SQLite's index of its write-ahead log alone takes 32 kB.
_FULL_BYTES = 64 * 1024


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turns the system's errors into StorageFullError and StorageFailedError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError() from error
        raise StorageFailedError(f"The data folder can't be used: {error.strerror or error}.") from error


def write_whole(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Put a file in place whole: a reader sees the old one or the new one, also after a power loss."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with storage_errors():
        try:
            _write_new(temporary, data, mode)
            temporary.rename(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_path(path.parent)


def write_small(path: Path, data: bytes) -> None:
    """The same, in a folder that is made if it is not there."""
    with storage_errors():
        make_private(path.parent)
    write_whole(path, data)


def read_small(path: Path) -> bytes:
    """What is there; nothing where it is not, or can't be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def kept_secret(path: Path) -> bytes:
    """32 random bytes that stay the same over restarts; made by the first who asks. Raises StorageFailedError."""
    with storage_errors():
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            found = b""
    if len(found) == _SECRET_BYTES:
        return found
    made = secrets.token_bytes(_SECRET_BYTES)
    write_whole(path, made)
    return made


def sync_path(path: Path) -> None:
    """fsync one file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of_files(folder: Path) -> int:
    """Bytes of the files in this folder; 0 when it is gone, and for those that go meanwhile."""
    size = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                size += entry.stat(follow_symlinks=False).st_size
    return size


def make_private(path: Path) -> None:
    """Have this folder; it and those above it that were missing are for our user alone. Raises OSError."""
    # Path.mkdir gives its mode to the last folder only.
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def is_full(folder: Path) -> bool:
    """Whether there is no room on the folder's disk, for anybody."""
    try:
        stat = os.statvfs(folder)
    except OSError:
        return False
    return stat.f_bavail * stat.f_frsize < _FULL_BYTES


def make_folder(path: Path, setting: str, *, mode: int = PRIVATE_FOLDER) -> None:
    """Have a folder that can be written to, durably. Raises ConfigError that names the setting at fault, StorageFullError."""
    try:
        if mode == PRIVATE_FOLDER:
            make_private(path)
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        sync_path(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(path) from error
        raise unusable_folder(path, setting, error.strerror or str(error)) from error
    # One that is there already may be another user's, or on a disk that is mounted to be read.
    if not os.access(path, os.W_OK | os.X_OK):
        raise unusable_folder(path, setting, "it can't be written to")


def find_folder_fault(path: Path, setting: str) -> ConfigError | None:
    """Why this folder can't be used or made, as far as that shows; nothing is made to find out."""
    absolute = path.absolute()
    there = next(each for each in (absolute, *absolute.parents) if os.path.lexists(each))
    if not there.is_dir():
        return unusable_folder(path, setting, f"{there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        return unusable_folder(path, setting, f"{there} can't be written to")
    return None


def disk_full(folder: Path) -> StorageFullError:
    """The error for a folder on a disk without room."""
    return StorageFullError(f"The disk of {folder} is full.")


def unusable_folder(path: Path, setting: str, cause: str) -> ConfigError:
    """The error for a folder that can't be written."""
    return ConfigError(
        f"The folder {path} can't be used: {cause}.",
        code="data_dir_not_writable",
        param=setting,
        fix=f"Make {path} writable for the user with uid {os.geteuid()}, or set {setting} to another folder.",
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
