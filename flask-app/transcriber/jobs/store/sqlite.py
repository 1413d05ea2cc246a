"""The job store on SQLite (ADR 0003)."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from .migration import MIGRATIONS
from .sql import SqlJobStore
from .sqlite_database import SqliteDatabase
from .sqlite_text import SqliteTextIndex

#: How long a call waits for another program (a backup, a curious sqlite3) that holds the file.
BUSY_TIMEOUT_MS = 5_000


class SqliteJobStore(SqlJobStore):
    """JobStore in the file `path`. Safe to call from any thread or greenlet but `executor`'s own."""

    def __init__(
        self,
        path: Path,
        executor: Executor,
        *,
        migrations: Path = MIGRATIONS,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ) -> None:
        """Take the folder, open the file and migrate it. Raises ConfigError, StorageFullError."""
        database = SqliteDatabase(path, executor, migrations=migrations, busy_timeout_ms=busy_timeout_ms)
        super().__init__(database, SqliteTextIndex())
