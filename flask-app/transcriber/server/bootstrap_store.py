"""The part of the composition root that opens the job store: SQLite in the data folder, or PostgreSQL.

PostgreSQL's driver is imported only where WHISPER_DATABASE_URL is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.schema import Settings
from ..domain.errors import ConfigError
from ..domain.ports import KeyStore
from ..jobs.store.lock import StoreLock
from ..jobs.store.sql import SqlJobStore
from ..jobs.store.sqlite import BUSY_TIMEOUT_MS, SqliteJobStore
from ..jobs.store.sqlite_keys import has_keys, shared_keys
from ..system.durable_files import make_folder
from ..system.threads import NativeExecutor

if TYPE_CHECKING:
    from ..jobs.store.postgres.transfer import Transferred


def open_store(settings: Settings) -> SqlJobStore:
    """The installation's store, for the one service that has it. Raises ConfigError, StorageFullError."""
    if not settings.database_url:
        return SqliteJobStore(sqlite_path(settings), NativeExecutor(1))
    from ..jobs.store.postgres.database import Hold
    from ..jobs.store.postgres.store import PostgresJobStore

    make_folder(settings.data_dir, "WHISPER_DATA_DIR")
    if sqlite_path(settings).exists():
        raise ConfigError(
            f"WHISPER_DATABASE_URL is set, and there are jobs in {sqlite_path(settings)}.",
            code="store_not_moved",
            param="WHISPER_DATABASE_URL",
            fix="Move them: python -m transcriber migrate-to-postgres. Or set WHISPER_DATA_DIR to a new folder.",
        )
    # The files of jobs are here, whoever has the database.
    folder = StoreLock(settings.data_dir)
    try:
        return PostgresJobStore(settings.database_url, hold=Hold.ALONE, on_close=folder.release)
    except BaseException:
        folder.release()
        raise


@contextmanager
def open_keys(settings: Settings) -> Iterator[KeyStore]:
    """The installation's keys, whether its service runs or not. Raises ConfigError."""
    if settings.database_url:
        from ..jobs.store.postgres.database import Hold
        from ..jobs.store.postgres.store import PostgresJobStore

        postgres = PostgresJobStore(settings.database_url, hold=Hold.NONE)
        try:
            yield postgres.keys
        finally:
            postgres.close()
        return
    try:
        store = SqliteJobStore(sqlite_path(settings), NativeExecutor(1))
    except ConfigError as error:
        if error.code != "store_in_use":
            raise
        with shared_keys(sqlite_path(settings), BUSY_TIMEOUT_MS) as keys:
            yield keys
        return
    try:
        yield store.keys
    finally:
        store.close()


def has_keys_in(settings: Settings) -> bool:
    """Whether the installation's store has a key, before the service opens it."""
    if not settings.database_url:
        return has_keys(sqlite_path(settings))
    try:
        with open_keys(settings) as keys:
            return bool(keys.list_keys())
    except ConfigError:
        return False


def find_database_fault(settings: Settings) -> ConfigError | None:
    """Why the database can't be used; one that no service has opened yet is fine."""
    if not settings.database_url:
        return None
    try:
        with open_keys(settings):
            return None
    except ConfigError as error:
        return None if error.code == "store_not_ready" else error


def transfer_store(settings: Settings) -> Transferred:
    """Copy the data folder's SQLite into WHISPER_DATABASE_URL, and put the file aside. Raises ConfigError."""
    path = sqlite_path(settings)
    if not settings.database_url:
        raise ConfigError(
            "WHISPER_DATABASE_URL is not set.",
            code="database_url_missing",
            param="WHISPER_DATABASE_URL",
            fix="Set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE of the database to move the jobs to.",
        )
    if not path.exists():
        raise ConfigError(
            f"There is no {path}.",
            code="store_missing",
            param="WHISPER_DATA_DIR",
            fix="Set WHISPER_DATA_DIR to the folder of the service that is to be moved; it may have been moved already.",
        )
    from ..jobs.store.postgres.transfer import transfer

    return transfer(path, settings.database_url)


def sqlite_path(settings: Settings) -> Path:
    """The file of the embedded store."""
    return settings.data_dir / "jobs.sqlite3"
