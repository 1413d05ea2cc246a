"""The job store on PostgreSQL (ADR 0022)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..migration import MIGRATIONS
from ..sql import SqlJobStore
from .database import Hold, PostgresDatabase
from .text import PostgresTextIndex


class PostgresJobStore(SqlJobStore):
    """JobStore in the database of this URL. Safe to call from any thread or greenlet."""

    def __init__(
        self,
        url: str,
        *,
        migrations: Path = MIGRATIONS,
        hold: Hold = Hold.ALONE,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect, take the database and migrate it. `on_close` is called last. Raises ConfigError."""
        self._on_close = on_close
        database = PostgresDatabase(url, migrations=migrations, hold=hold)
        super().__init__(database, PostgresTextIndex())

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        super().close()
        self._on_close()
