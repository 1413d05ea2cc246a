"""What PostgreSQL's errors mean to us: while serving, and at start. Never with the password of the URL in them."""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from ....domain.errors import ConfigError, DatabaseUnavailableError, StorageFullError, TranscriberError

SETTING = "WHISPER_DATABASE_URL"

#: The database is full.
_FULL = "53100"

#: Somebody, or a limit of ours, broke the statement off.
_CANCELLED = "57014"

#: Classes of SQLSTATE that speak of the server, not of our statements: connection, resources, operator, system.
_OF_SERVER = frozenset({"08", "53", "57", "58", "F0", "XX"})

#: Failures that pass when the transaction is run again: serialisation, deadlock.
_TRY_AGAIN = frozenset({"40001", "40P01"})


def is_storage_failure(error: DBAPIError) -> bool:
    """Whether the server failed, or the way to it, so that a fresh connection may work again later."""
    state = _state(error)
    if state == "":
        # Without a state it never came from the server: the connection is gone, or was never made.
        return type(error.orig).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
    return state[:2] in _OF_SERVER or state in _TRY_AGAIN


def is_interrupted(error: DBAPIError) -> bool:
    """Whether the statement was interrupted because it took too long."""
    return _state(error) == _CANCELLED


def error_while_serving(error: DBAPIError) -> TranscriberError:
    """StorageFullError or DatabaseUnavailableError for a failure of storage."""
    if _state(error) == _FULL:
        return StorageFullError(
            "The disk of the database is full.", fix="Free space on the disk of PostgreSQL's data folder."
        )
    return DatabaseUnavailableError(f"The database can't be used: {_first_line(error)}.")


def error_at_start(error: DBAPIError, url: URL) -> TranscriberError:
    """Why the store can't be opened, with its fix."""
    where = f"{url.host or url.query.get('host', 'localhost')}:{url.port or 5432}/{url.database or ''}"
    if is_storage_failure(error) or _state(error)[:2] in ("28", "3D"):
        return ConfigError(
            f"The database {where} can't be opened: {_first_line(error)}.",
            code="database_unreachable",
            param=SETTING,
            fix="Start PostgreSQL, create the database and its user (docs/postgresql.md), and check host, port and password.",
        )
    return ConfigError(
        f"The database {where} could not be brought to this version; nothing was changed: {_first_line(error)}.",
        code="store_migration_failed",
        param=SETTING,
        fix="Start the version that wrote it, and report this message.",
    )


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error.orig).__name__
