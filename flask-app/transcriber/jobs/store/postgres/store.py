"""The job store on PostgreSQL (ADR 0022)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..migration import MIGRATIONS
from ..sql import SqlJobStore
from .database import Hold, PostgresDatabase
from .fleet import FleetStore
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
        self._postgres = database
        super().__init__(database, PostgresTextIndex())
        #: What the nodes of a fleet share beside the jobs.
        self.fleet = FleetStore(database)

    def make_tickets(self, sql: str) -> None:
        """Make the tables of the tickets, where they are not there. `sql`: of the library that writes them."""
        self._postgres.make_tables("procrastinate_jobs", sql)

    def leads(self) -> bool:
        """Whether this node is the one that sends webhooks and removes what is old."""
        return self._postgres.leads()

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        super().close()
        self._on_close()
