"""What SQLite's errors mean to us: while serving, and at start."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ...domain.errors import ConfigError, StorageFailedError, StorageFullError, TranscriberError
from ...system.durable_files import disk_full, is_full, unusable_folder

#: Failures of the disk and of the file, as against mistakes in our statements.
_OF_STORAGE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: What SQLite calls it where the side files of its log find no room.
_OF_ROOM = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def is_storage_failure(error: DBAPIError) -> bool:
    """Whether the disk or the file failed, so that a fresh connection may work again later."""
    return _primary_code(error) in _OF_STORAGE


def is_interrupted(error: DBAPIError) -> bool:
    """Whether the statement was interrupted because it took too long."""
    return _primary_code(error) == sqlite3.SQLITE_INTERRUPT


def error_while_serving(error: DBAPIError, path: Path) -> TranscriberError:
    """StorageFullError or StorageFailedError for a failure of storage."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL or (code in _OF_ROOM and is_full(path.parent)):
        return StorageFullError()
    return StorageFailedError(f"The job store can't be used: {error.orig}.")


def error_at_start(error: DBAPIError, path: Path) -> TranscriberError:
    """Why the store can't be opened, with its fix."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL or (code in _OF_ROOM and is_full(path.parent)):
        return disk_full(path.parent)
    if code in _DAMAGED:
        return damaged(path, str(error.orig))
    if code in _BUSY:
        return _busy(path)
    if code in _OF_STORAGE:
        return unusable_folder(path.parent, "WHISPER_DATA_DIR", str(error.orig))
    return _migration_failed(path, error)


def damaged(path: Path, cause: str) -> ConfigError:
    """The error for a database file that is not whole."""
    return ConfigError(
        f"The job store {path} is damaged: {cause}.",
        code="store_damaged",
        param="WHISPER_DATA_DIR",
        fix="Restore the data folder from a backup (docs/backup.md), or set WHISPER_DATA_DIR to a new folder to begin "
        "with an empty store.",
    )


def no_wal(path: Path, mode: str) -> ConfigError:
    """The error for a file system on which SQLite can't keep a write-ahead log."""
    return ConfigError(
        f"The job store {path} can't use a write-ahead log here (SQLite says journal_mode={mode}).",
        code="store_without_wal",
        param="WHISPER_DATA_DIR",
        fix="Put WHISPER_DATA_DIR on a local disk; network file systems can't hold the job store.",
    )


def _busy(path: Path) -> ConfigError:
    return ConfigError(
        f"Another program holds the job store {path} locked.",
        code="store_in_use",
        param="WHISPER_DATA_DIR",
        fix=f"Find it with: fuser -v {path}. Close it and start again (this process is {os.getpid()}).",
    )


def _migration_failed(path: Path, error: DBAPIError) -> ConfigError:
    return ConfigError(
        f"The job store {path} could not be brought to this version; nothing was changed: {error.orig}.",
        code="store_migration_failed",
        param="WHISPER_DATA_DIR",
        fix="Start the version that wrote it, and report this message.",
    )


def _primary_code(error: DBAPIError) -> int:
    """SQLite's code without its extension; 0 when the error is not SQLite's."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
