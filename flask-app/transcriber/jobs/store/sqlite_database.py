"""The SQLite file under the job store: one owner, one native thread, one transaction a call (ADR 0003)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ...domain.errors import ShuttingDownError
from ...system.durable_files import PRIVATE_FILE, disk_full, is_full, make_folder, unusable_folder
from ...system.threads import NativeExecutor
from .database import READ_SECONDS
from .lock import StoreLock
from .migration import migrate
from .sqlite_errors import damaged, error_at_start, error_while_serving, is_storage_failure, no_wal
from .sqlite_reads import SqliteReads

Answer = TypeVar("Answer")

#: Threads for reading, and for searches, which take longer: neither waits for the other, nor a change for them.
READERS = 2
SEARCHERS = 2


class SqliteDatabase:
    """The file `path`, migrated. Safe to call from any thread or greenlet but `executor`'s own.

    Every change runs as one transaction on the one native thread of `executor`, so that neither fsync nor
    a lock stops a gevent hub, and nothing can come between BEGIN and COMMIT. The connection never leaves
    that thread (sqlite3 itself checks it). Reads have threads and connections of their own.
    """

    def __init__(self, path: Path, executor: Executor, *, migrations: Path, busy_timeout_ms: int) -> None:
        """Take the folder, open the file and migrate it. Raises ConfigError, StorageFullError."""
        self._path = path
        self._executor = executor
        self._engine = make_engine(path, busy_timeout_ms)
        self._connection: Connection | None = None
        self._is_closed = False
        self._reads = _make_reads(path, READERS, busy_timeout_ms)
        self._searches = _make_reads(path, SEARCHERS, busy_timeout_ms)
        make_folder(path.parent, "WHISPER_DATA_DIR")
        self._ownership = StoreLock(path.parent)
        try:
            self._on_thread(lambda: self._open(migrations))
        except BaseException:
            self.close()
            raise

    def transaction(self, work: Callable[[Connection], Answer]) -> Answer:
        """Run `work` as one transaction: all of it or nothing.

        Raises StorageFullError, StorageFailedError, ShuttingDownError, and what `work` raises.
        """
        return self._on_thread(lambda: self._run(work))

    def read(self, work: Callable[[Connection], Answer], *, seconds: float = READ_SECONDS) -> Answer:
        """Run `work`, which changes nothing. Raises as SqliteReads.read does."""
        return self._reads.read(work, seconds=seconds)

    def search(
        self, work: Callable[[Connection], Answer], *, seconds: float, too_late: Callable[[], Exception]
    ) -> Answer:
        """The same for what may take long."""
        return self._searches.read(work, seconds=seconds, too_late=too_late)

    def check_writable(self) -> None:
        """Write, and change nothing: SQLite writes the page of its header, though the number is the same."""
        self.transaction(_rewrite_version)

    def close(self) -> None:
        """Close the file and give the folder back. A second call does nothing."""
        try:
            for reads in (self._reads, self._searches):
                reads.close()
            self._on_thread(self._shut)
        finally:
            self._ownership.release()

    def _on_thread(self, work: Callable[[], Answer]) -> Answer:
        return self._executor.submit(work).result()

    # From here on: on the executor's thread only.

    def _run(self, work: Callable[[Connection], Answer]) -> Answer:
        try:
            with self._connected().begin():
                return work(self._connected())
        except DBAPIError as error:
            if not is_storage_failure(error):
                raise
            # After a failed write SQLite may refuse everything on this connection: begin again with a new one.
            self._disconnect()
            raise error_while_serving(error, self._path) from error

    def _connected(self) -> Connection:
        if self._is_closed:
            raise ShuttingDownError()
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _open(self, migrations: Path) -> None:
        _create_privately(self._path)
        try:
            connection = self._connected()
            _require_whole(connection, self._path)
            with connection.begin():
                migrate(connection, migrations)
        except DBAPIError as error:
            raise error_at_start(error, self._path) from error

    def _shut(self) -> None:
        self._is_closed = True
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _make_reads(path: Path, threads: int, busy_timeout_ms: int) -> SqliteReads:
    return SqliteReads(path, NativeExecutor(threads), busy_timeout_ms=busy_timeout_ms)


def make_engine(path: Path, busy_timeout_ms: int) -> Engine:
    """Connections to the file, each transaction with the write lock from its first statement on."""
    engine = create_engine("sqlite://", creator=lambda: _connect(path, busy_timeout_ms), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once: no transaction can fail half-way for want of it.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _connect(path: Path, busy_timeout_ms: int) -> sqlite3.Connection:
    # mode=rw: a file that vanished is an error, not an empty store. isolation_level=None: sqlite3 begins
    # no transactions of its own.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        for pragma in (f"busy_timeout={busy_timeout_ms}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def _rewrite_version(connection: Connection) -> None:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")


def _create_privately(path: Path) -> None:
    """SQLite gives its side files the mode of this one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
    except OSError as error:
        if is_full(path.parent):
            raise disk_full(path.parent) from error
        raise unusable_folder(path.parent, "WHISPER_DATA_DIR", error.strerror or str(error)) from error


def _require_whole(connection: Connection, path: Path) -> None:
    """Raises ConfigError for a damaged file, and for a file system without a write-ahead log."""
    with connection.begin():
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if mode != "wal":
        raise no_wal(path, mode)
    if finding != "ok":
        raise damaged(path, finding)
