"""The PostgreSQL database under the job store: a pool of connections, one transaction a call (ADR 0022)."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import psycopg
import structlog
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from ....domain.errors import ConfigError, DatabaseUnavailableError, ShuttingDownError
from ..database import READ_SECONDS
from ..migration import MIGRATIONS, migrate
from .address import parse_address
from .errors import SETTING, error_at_start, error_while_serving, is_interrupted, is_storage_failure

Answer = TypeVar("Answer")

logger = structlog.get_logger(__name__)

#: Connections that are kept, and that there may be at most, of one process.
POOL_SIZE = 5
MOST_CONNECTIONS = 20

#: How long a call waits for a connection, and a new connection for the server, in seconds.
POOL_SECONDS = 10.0
CONNECT_SECONDS = 10

#: Advisory locks, for Transcriber alone in this database: who migrates, who serves, who leads.
MIGRATION_LOCK = 7_210_459_301
SERVICE_LOCK = 7_210_459_302
LEADER_LOCK = 7_210_459_303

#: How long a start waits for the lock of the process before it, and how often it looks, in seconds.
HOLD_SECONDS = 5.0
HOLD_POLL_SECONDS = 0.1

#: The server finds out that the machine that held the lock is gone: on its side the default is two hours.
_SERVER_KEEPALIVES = (
    "SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)

#: psycopg finds out that a server is gone, where the network says nothing, in 10 + 3 × 5 seconds.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class Hold(enum.Enum):
    """Who else may have the database open."""

    ALONE = "pg_try_advisory_lock"  #: no other service: it takes up what a process before it left
    SHARED = "pg_try_advisory_lock_shared"  #: other nodes of the fleet, and no service on its own
    NONE = ""  #: anybody: a command beside a service; it migrates nothing


class PostgresDatabase:
    """The database of this URL, migrated, and held against other services by a session's advisory lock.

    Safe to call from any thread or greenlet.
    """

    def __init__(
        self,
        url: str,
        *,
        migrations: Path = MIGRATIONS,
        hold: Hold = Hold.ALONE,
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        """Connect, take the lock and migrate. Raises ConfigError: database_unreachable, store_in_use, …"""
        self._url = parse_address(url)
        self._hold_as = hold
        self._hold_seconds = hold_seconds
        self._engine = self._make_engine()
        #: The session that holds the lock; a pooled one would give it back.
        self._holders = create_engine(self._url, poolclass=NullPool, connect_args=_connect_args())
        self._holder: Connection | None = None
        self._holding = threading.Lock()
        #: The session of the node that leads, if this one does.
        self._leader: Connection | None = None
        self._leading = threading.Lock()
        #: Whether connections were lost since the lock was looked at: its session may be lost, too.
        self._is_doubtful = False
        self._is_closed = False
        try:
            self._open(migrations)
        except BaseException:
            self.close()
            raise

    def transaction(self, work: Callable[[Connection], Answer]) -> Answer:
        """Run `work` as one transaction: all of it or nothing. Where the connection is lost at the end, it is unknown which."""
        return self._run(work, None, _took_too_long)

    def read(self, work: Callable[[Connection], Answer], *, seconds: float = READ_SECONDS) -> Answer:
        """Run `work`, which changes nothing."""
        return self._run(work, seconds, _took_too_long)

    def search(
        self, work: Callable[[Connection], Answer], *, seconds: float, too_late: Callable[[], Exception]
    ) -> Answer:
        """The same for what may take long."""
        return self._run(work, seconds, too_late)

    def check_writable(self) -> None:
        """Write, and change nothing: a transaction that is given a number is written down."""
        self.transaction(
            lambda connection: connection.exec_driver_sql("SELECT pg_current_xact_id()").scalar()
        )

    def make_tables(self, name: str, sql: str) -> None:
        """Run this SQL unless there is a table of this name; nodes that start together do so one after the other."""

        def make(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})").close()
            if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
                raw = cast(psycopg.Connection[Any], connection.connection.driver_connection)
                raw.execute(sql.encode())

        self.transaction(make)

    def leads(self) -> bool:
        """Whether this node is the one that does what one alone may do; it becomes that where nobody is."""
        with self._leading:
            try:
                if self._leader is not None:
                    self._leader.exec_driver_sql("SELECT 1").close()
                    return True
                session = self._holders.connect().execution_options(isolation_level="AUTOCOMMIT")
                try:
                    session.exec_driver_sql(_SERVER_KEEPALIVES).close()
                    if session.exec_driver_sql(f"SELECT pg_try_advisory_lock({LEADER_LOCK})").scalar_one():
                        self._leader = session
                        return True
                finally:
                    if self._leader is not session:
                        session.close()
            except DBAPIError:
                self._drop_leader()
            return False

    def _drop_leader(self) -> None:
        leader, self._leader = self._leader, None
        if leader is not None:
            leader.invalidate()
            leader.close()

    def close(self) -> None:
        """Give the connections and the lock back. A second call does nothing."""
        self._is_closed = True
        with self._leading:
            leader, self._leader = self._leader, None
        if leader is not None:
            leader.close()
        with self._holding:
            holder, self._holder = self._holder, None
        if holder is not None:
            # The server finds out only later that a connection is closed.
            with suppress(DBAPIError):
                holder.exec_driver_sql("SELECT pg_advisory_unlock_all()").close()
            holder.close()
        self._engine.dispose()

    def _make_engine(self) -> SqlEngine:
        engine = create_engine(
            self._url,
            pool_size=POOL_SIZE,
            max_overflow=MOST_CONNECTIONS - POOL_SIZE,
            pool_timeout=POOL_SECONDS,
            # A server that was restarted is found out before a transaction, not in it.
            pool_pre_ping=True,
            connect_args=_connect_args(),
        )

        @event.listens_for(engine, "connect")
        def connected(connection: object, record: object) -> None:
            self._is_doubtful = self._hold_as is not Hold.NONE

        return engine

    def _run(
        self, work: Callable[[Connection], Answer], seconds: float | None, too_late: Callable[[], Exception]
    ) -> Answer:
        if self._is_closed:
            raise ShuttingDownError()
        if self._holder is None and self._hold_as is not Hold.NONE:
            self._hold_again()
        try:
            with self._engine.begin() as connection:
                if self._is_doubtful:
                    self._require_hold()
                if seconds is not None:
                    limit = max(1, int(seconds * 1000))
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")
                return work(connection)
        except DBAPIError as error:
            if is_interrupted(error) and seconds is not None:
                raise too_late() from error
            if not is_storage_failure(error):
                raise
            self._let_go()
            raise error_while_serving(error) from error
        except PoolTimeoutError as error:
            raise DatabaseUnavailableError("All connections to the database are in use.") from error

    def _open(self, migrations: Path) -> None:
        try:
            if self._hold_as is Hold.NONE:
                return self._require_tables()
            self._hold(self._hold_seconds)
            with self._engine.begin() as connection:
                # Nodes that start together migrate one after the other.
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})").close()
                migrate(connection, migrations, SETTING)
        except DBAPIError as error:
            raise error_at_start(error, self._url) from error

    def _require_tables(self) -> None:
        with self._engine.begin() as connection:
            if connection.exec_driver_sql("SELECT to_regclass('api_keys')").scalar() is None:
                raise ConfigError(
                    "The database has no job store of this version.",
                    code="store_not_ready",
                    param=SETTING,
                    fix="Start this version of the service once, then run the command again.",
                )

    def _hold(self, seconds: float = 0.0) -> None:
        """Take the service's lock in a session of its own. Raises ConfigError: store_in_use.

        seconds: that a lock is waited for; a process that was just killed may still seem to have it.
        """
        connection = self._holders.connect().execution_options(isolation_level="AUTOCOMMIT")
        deadline = time.monotonic() + seconds
        try:
            connection.exec_driver_sql(_SERVER_KEEPALIVES).close()
            while not connection.exec_driver_sql(
                f"SELECT {self._hold_as.value}({SERVICE_LOCK})"
            ).scalar_one():
                if time.monotonic() >= deadline:
                    raise _in_use(self._hold_as)
                time.sleep(HOLD_POLL_SECONDS)
        except BaseException:
            connection.close()
            raise
        self._holder = connection

    def _hold_again(self) -> None:
        """After the server was away: somebody else may have taken the database meanwhile."""
        with self._holding:
            if self._holder is not None or self._is_closed:
                return
            try:
                self._hold()
            except DBAPIError as error:
                raise error_while_serving(error) from error
            except ConfigError as error:
                raise DatabaseUnavailableError(error.message, fix=error.fix) from error
            logger.info("database_is_back")

    def _require_hold(self) -> None:
        """The pool made a connection: was that because the server was away, with the session of the lock?"""
        self._is_doubtful = False
        holder = self._holder
        try:
            if holder is not None:
                holder.exec_driver_sql("SELECT 1").close()
        except DBAPIError:
            self._let_go()
            self._hold_again()

    def _let_go(self) -> None:
        """The server failed: the session with the lock may be gone, and is made anew by the next call."""
        with self._holding:
            holder, self._holder = self._holder, None
        if holder is not None:
            holder.invalidate()
            holder.close()


def _connect_args() -> dict[str, object]:
    return {"connect_timeout": CONNECT_SECONDS, "application_name": "transcriber", **_KEEPALIVES}


def _took_too_long() -> Exception:
    return DatabaseUnavailableError("The database took too long to answer.")


def _in_use(hold: Hold) -> ConfigError:
    others = "another service" if hold is Hold.ALONE else "a service on its own"
    return ConfigError(
        f"The database is in use by {others}.",
        code="store_in_use",
        param=SETTING,
        fix="Stop that service, or give this one a database of its own.",
    )
