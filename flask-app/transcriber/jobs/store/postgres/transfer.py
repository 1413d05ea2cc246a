"""Moving an installation from SQLite to PostgreSQL: every row, compared afterwards; the files of jobs stay.

It can be broken off and run again: rows that are there already are left, and nothing is put aside before all are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Table, func, select
from sqlalchemy.dialects.postgresql import insert

from ....domain.errors import ConfigError
from ....system.threads import NativeExecutor
from ..database import Database
from ..migration import MIGRATIONS
from ..schema import api_keys, deliveries, edits, jobs
from ..sqlite import BUSY_TIMEOUT_MS
from ..sqlite_database import SqliteDatabase
from ..sqlite_text import SqliteTextIndex
from .database import Hold, PostgresDatabase
from .errors import SETTING
from .text import PostgresTextIndex

#: Rows of one transaction.
BATCH = 500

#: Each table with the column that its rows are in order of.
_TABLES: tuple[tuple[Table, Column[Any]], ...] = (
    (api_keys, api_keys.c.id),
    (jobs, jobs.c.number),
    (deliveries, deliveries.c.number),
    (edits, edits.c.job_id),
)


@dataclass(frozen=True, slots=True)
class Transferred:
    """How many rows each table has now, and where the old file lies."""

    rows: dict[str, int]
    kept_as: Path


def transfer(path: Path, url: str) -> Transferred:
    """Copy all rows of the file into the database, and put the file aside as NAME.moved.

    Raises ConfigError: a service runs on either of them, or the database has jobs of its own; StorageFailedError.
    """
    source = SqliteDatabase(path, NativeExecutor(1), migrations=MIGRATIONS, busy_timeout_ms=BUSY_TIMEOUT_MS)
    try:
        target = PostgresDatabase(url, hold=Hold.ALONE)
        try:
            rows = {table.name: _copy(source, target, table, order) for table, order in _TABLES}
            rows["transcript_texts"] = _copy_texts(source, target)
            target.transaction(_go_on_counting)
        finally:
            target.close()
    finally:
        source.close()
    return Transferred(rows, _put_aside(path))


def _copy(source: Database, target: Database, table: Table, order: Column[Any]) -> int:
    for rows in _batches(source, table, order):
        target.transaction(partial(_insert, table=table, rows=rows))
    for rows in _batches(source, table, order):
        if (
            target.read(partial(_select, table=table, order=order, keys=[row[order.name] for row in rows]))
            != rows
        ):
            raise _differs(table)
    counts = [one.read(partial(_count, table=table)) for one in (source, target)]
    if counts[0] != counts[1]:
        raise _differs(table)
    return counts[0]


def _batches(source: Database, table: Table, order: Column[Any]) -> Iterator[list[dict[str, Any]]]:
    last: object = None
    while rows := source.read(partial(_next, table=table, order=order, last=last)):
        yield rows
        last = rows[-1][order.name]


def _next(connection: Connection, *, table: Table, order: Column[Any], last: object) -> list[dict[str, Any]]:
    query = select(table).order_by(order).limit(BATCH)
    query = query if last is None else query.where(order > last)
    return [dict(row) for row in connection.execute(query).mappings()]


def _count(connection: Connection, *, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _insert(connection: Connection, *, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _select(
    connection: Connection, *, table: Table, order: Column[Any], keys: Sequence[object]
) -> list[dict[str, Any]]:
    query = select(table).where(order.in_(keys))
    found = {row[order.name]: dict(row) for row in connection.execute(query).mappings()}
    return [found[key] for key in keys if key in found]


def _copy_texts(source: Database, target: Database) -> int:
    count, last = 0, 0
    while rows := source.read(partial(_next_texts, last=last)):
        target.transaction(partial(_put_texts, rows=rows))
        count, last = count + len(rows), rows[-1][0]
    return count


def _next_texts(connection: Connection, *, last: int) -> list[tuple[int, str]]:
    rows = connection.execute(SqliteTextIndex.select_texts(last, BATCH)).all()
    return [(number, text) for number, text in rows]


def _put_texts(connection: Connection, *, rows: Sequence[tuple[int, str]]) -> None:
    for number, text in rows:
        PostgresTextIndex().put(connection, number, text)


def _go_on_counting(connection: Connection) -> None:
    """New rows get numbers after those that were copied."""
    for table in ("jobs", "deliveries"):
        connection.exec_driver_sql(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'number'), "
            f"(SELECT coalesce(max(number), 0) + 1 FROM {table}), false)"
        ).close()


def _put_aside(path: Path) -> Path:
    kept = path.with_name(f"{path.name}.moved")
    path.rename(kept)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return kept


def _differs(table: Table) -> ConfigError:
    return ConfigError(
        f"The table {table.name} of the database has other rows than the file. The file is as it was.",
        code="database_not_empty",
        param=SETTING,
        fix="Set WHISPER_DATABASE_URL to an empty database, and run the command again.",
    )
