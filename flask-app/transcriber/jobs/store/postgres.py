"""The job store on PostgreSQL (ADR 0019)."""

from __future__ import annotations

from pathlib import Path

from .migration import MIGRATIONS
from .postgres_database import Hold, PostgresDatabase
from .postgres_text import PostgresTextIndex
from .sql import SqlJobStore


class PostgresJobStore(SqlJobStore):
    """JobStore in the database of this URL. Safe to call from any thread or greenlet."""

    def __init__(self, url: str, *, migrations: Path = MIGRATIONS, hold: Hold = Hold.ALONE) -> None:
        """Connect, take the database and migrate it. Raises ConfigError."""
        database = PostgresDatabase(url, migrations=migrations, hold=hold)
        super().__init__(database, PostgresTextIndex())
