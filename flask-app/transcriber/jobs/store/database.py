"""What the SQL job store asks of its database; SQLite and PostgreSQL each answer in their own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Select

from ...domain.ports import Excerpt

Answer = TypeVar("Answer")

#: A read that takes longer is broken off: in SQLite it would keep the write-ahead log from being cut.
READ_SECONDS = 30.0


class Database(Protocol):
    """A database of this schema version. Safe to call from any thread."""

    def transaction(self, work: Callable[[Connection], Answer]) -> Answer:
        """Run `work` as one transaction: all of it or nothing.

        Raises StorageFullError, StorageFailedError, ShuttingDownError, and what `work` raises.
        """
        ...

    def read(self, work: Callable[[Connection], Answer], *, seconds: float = READ_SECONDS) -> Answer:
        """Run `work`, which changes nothing."""
        ...

    def search(
        self, work: Callable[[Connection], Answer], *, seconds: float, too_late: Callable[[], Exception]
    ) -> Answer:
        """The same for what may take long: `too_late()` is raised after this time."""
        ...

    def check_writable(self) -> None:
        """Write, and change nothing. Raises what `transaction` raises."""
        ...

    def close(self) -> None:
        """A second call does nothing."""
        ...


class TextIndex(Protocol):
    """The full-text index: its rows have the numbers of their jobs."""

    def matching(self, search: str) -> Select[Any] | None:
        """Selects the column `number` of jobs whose text has all words; None where there is no word in `search`."""
        ...

    def excerpts(self, connection: Connection, numbers: list[int], search: str) -> Mapping[int, Excerpt]:
        """Where these jobs' texts have the words."""
        ...

    def has(self, connection: Connection, number: int) -> bool:
        """Whether the job's text is in the index."""
        ...

    def put(self, connection: Connection, number: int, text: str) -> None:
        """Store the text, replacing an earlier one."""
        ...

    def drop(self, connection: Connection, number: int | None) -> None:
        """Take the text out, if it is there."""
        ...

    def unindexed(self, limit: int) -> Select[Any]:
        """Selects the ids of jobs that succeeded and have no text here, newest first."""
        ...
