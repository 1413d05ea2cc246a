"""Reading the SQLite file on connections of its own, so that no look at the jobs stands in the way of a change."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ...domain.errors import ShuttingDownError, StorageFailedError
from .database import READ_SECONDS
from .sqlite_errors import error_while_serving, is_interrupted, is_storage_failure

Answer = TypeVar("Answer")

#: How often SQLite checks the deadline, in steps of its virtual machine: well under a millisecond apart.
_STEPS_BETWEEN_LOOKS = 1000


class SqliteReads:
    """Reads in the threads of `executor`, each call on a connection that can't write. In a write-ahead log readers and
    the writer don't wait for each other, and every read sees what was reported to a writer as being on disk.

    Safe to call from any thread or greenlet but the executor's own.
    """

    def __init__(
        self,
        path: Path,
        executor: Executor,
        *,
        busy_timeout_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._executor = executor
        self._engine = _make_engine(path, busy_timeout_ms)
        self._clock = clock
        self._idle: deque[Connection] = deque()
        self._is_closed = False

    def read(
        self,
        work: Callable[[Connection], Answer],
        *,
        seconds: float = READ_SECONDS,
        too_late: Callable[[], Exception] | None = None,
    ) -> Answer:
        """Run `work` on one state of the file; what takes longer than `seconds` raises `too_late()`.

        Raises StorageFailedError, ShuttingDownError, and what `work` raises.
        """
        deadline = self._clock() + seconds
        return self._executor.submit(self._run, work, deadline, too_late or _took_too_long).result()

    def close(self) -> None:
        """Close the connections, once the reads that run are done. A second call does nothing."""
        self._is_closed = True
        self._executor.shutdown()
        while self._idle:
            self._idle.pop().close()

    # From here on: on the executor's threads only.

    def _run(
        self, work: Callable[[Connection], Answer], deadline: float, too_late: Callable[[], Exception]
    ) -> Answer:
        connection = self._take()
        try:
            with connection.begin(), self._limited(connection, deadline):
                answer = work(connection)
        except DBAPIError as error:
            connection.close()
            if is_interrupted(error):
                raise too_late() from error
            if not is_storage_failure(error):
                raise
            raise error_while_serving(error, self._path) from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def _take(self) -> Connection:
        if self._is_closed:
            raise ShuttingDownError()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> Connection:
        try:
            return self._engine.connect()
        except DBAPIError as error:
            raise error_while_serving(error, self._path) from error

    @contextmanager
    def _limited(self, connection: Connection, deadline: float) -> Iterator[None]:
        raw = cast(sqlite3.Connection, connection.connection.driver_connection)
        raw.set_progress_handler(lambda: self._clock() > deadline, _STEPS_BETWEEN_LOOKS)
        try:
            yield
        finally:
            raw.set_progress_handler(None, _STEPS_BETWEEN_LOOKS)


def _took_too_long() -> Exception:
    return StorageFailedError("The job store took too long to answer.")


def _make_engine(path: Path, busy_timeout_ms: int) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _connect(path, busy_timeout_ms), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _connect(path: Path, busy_timeout_ms: int) -> sqlite3.Connection:
    # Any thread of the executor may take it, one at a time.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}").close()
    return connection
