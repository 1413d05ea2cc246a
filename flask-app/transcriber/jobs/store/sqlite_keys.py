"""The way to the keys in a job store's file for a command beside a running service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from ...domain.errors import ConfigError
from .sql_keys import SqlKeys
from .sqlite_database import make_engine
from .sqlite_errors import error_at_start

Answer = TypeVar("Answer")


@contextmanager
def shared_keys(path: Path, busy_timeout_ms: int) -> Iterator[SqlKeys]:
    """The keys in a file whose folder another process may own: its own connection, and nothing is migrated.

    Raises ConfigError: store_not_ready, where no version of us with keys has opened it yet.
    """
    engine = make_engine(path, busy_timeout_ms)

    def transact(work: Callable[[Connection], Answer]) -> Answer:
        with engine.connect() as connection, connection.begin():
            return work(connection)

    keys = SqlKeys(transact)
    try:
        keys.list_keys()
    except OperationalError as error:
        if "no such table" in str(error):
            raise ConfigError(
                f"The job store {path} is one of an earlier version.",
                code="store_not_ready",
                param="WHISPER_DATA_DIR",
                fix="Start this version of the service once, then run the command again.",
            ) from error
        raise error_at_start(error, path) from error
    except DBAPIError as error:
        raise error_at_start(error, path) from error
    try:
        yield keys
    finally:
        engine.dispose()


def has_keys(path: Path) -> bool:
    """Whether there is a key in this file, which may not be there; before the service opens it."""
    if not path.is_file():
        return False
    try:
        with shared_keys(path, busy_timeout_ms=1000) as keys:
            return bool(keys.list_keys())
    except ConfigError:
        return False
