"""The table of keys in the job store's own file, and the way to it for a command beside a running service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ...domain.errors import ConfigError
from ...domain.keys import ApiKey, Role
from . import queries
from .sqlite_database import make_engine
from .sqlite_errors import error_at_start

Answer = TypeVar("Answer")


class Transact(Protocol):
    """Runs work as one transaction."""

    def __call__(self, work: Callable[[Connection], Answer], /) -> Answer: ...


class SqliteKeys:
    """KeyStore over a database. Safe to call from any thread if `transact` is."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact

    def add(self, key: ApiKey) -> bool:
        """Keep a new key; False, and nothing, where an active key has its name."""
        try:
            self._transact(lambda connection: connection.execute(queries.insert_key(_row(key))).rowcount)
        except IntegrityError:
            return False
        return True

    def list_keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, oldest first."""
        rows = self._transact(lambda connection: connection.execute(queries.select_keys()).mappings().all())
        return [_key(dict(row)) for row in rows]

    def revoke(self, name: str, now: datetime) -> ApiKey | None:
        """Revoke the key of this name; None where no active one has it."""
        statement = queries.revoke_key(name, now)
        row = self._transact(lambda connection: connection.execute(statement).mappings().first())
        return None if row is None else _key(dict(row))

    def note_use(self, key_id: str, now: datetime) -> None:
        """Keep when the key was last used."""
        self._transact(lambda connection: connection.execute(queries.note_key_used(key_id, now)).rowcount)


@contextmanager
def shared_keys(path: Path, busy_timeout_ms: int) -> Iterator[SqliteKeys]:
    """The keys in a file whose folder another process may own: its own connection, and nothing is migrated.

    Raises ConfigError: store_not_ready, where no version of us with keys has opened it yet.
    """
    engine = make_engine(path, busy_timeout_ms)

    def transact(work: Callable[[Connection], Answer]) -> Answer:
        with engine.connect() as connection, connection.begin():
            return work(connection)

    keys = SqliteKeys(transact)
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


def _row(key: ApiKey) -> dict[str, Any]:
    return asdict(key) | {"role": key.role.value}


def _key(row: dict[str, Any]) -> ApiKey:
    return ApiKey(**row | {"role": Role(row["role"])})
