"""The full-text index of SQLite (FTS5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
)

from ...domain.jobs import JobStatus
from ...domain.ports import Excerpt
from .full_text import CLOSING, EXCERPT_WORDS, OPENING, Query, excerpt, indexed, parse_query
from .schema import jobs

#: It is none of the metadata's tables: only a migration can make it.
_texts = table("transcript_texts", column("rowid", Integer), column("text", Text))


class SqliteTextIndex:
    """TextIndex over the virtual table transcript_texts."""

    def matching(self, search: str) -> Select[Any] | None:
        """Selects the numbers of jobs whose text has all words; None where there is no word in `search`."""
        query = parse_query(search)
        return None if query is None else select(_texts.c.rowid.label("number")).where(_matches(query))

    def excerpts(self, connection: Connection, numbers: list[int], search: str) -> Mapping[int, Excerpt]:
        """Where these jobs' texts have the words."""
        statement = select_excerpts(min(numbers), max(numbers), search)
        if statement is None:
            return {}
        rows = connection.execute(statement).all()
        wanted = set(numbers)
        return {number: excerpt(snippet) for number, snippet in rows if number in wanted}

    def has(self, connection: Connection, number: int) -> bool:
        """Whether the job's text is in the index."""
        statement = select(_texts.c.rowid).where(_texts.c.rowid == number)
        return connection.execute(statement).first() is not None

    def put(self, connection: Connection, number: int, text: str) -> None:
        """Store the text, replacing an earlier one."""
        if self.has(connection, number):
            self.drop(connection, number)
        connection.execute(insert(_texts).values(rowid=number, text=indexed(text)))

    def drop(self, connection: Connection, number: int | None) -> None:
        """Take the text out, if it is there."""
        connection.execute(delete(_texts).where(_texts.c.rowid == number))

    @staticmethod
    def select_texts(after: int, limit: int) -> Select[Any]:
        """Selects number and text of what is in the index, from the number after this one on."""
        return (
            select(_texts.c.rowid, _texts.c.text)
            .where(_texts.c.rowid > after)
            .order_by(_texts.c.rowid)
            .limit(limit)
        )

    def unindexed(self, limit: int) -> Select[Any]:
        """Selects the ids of jobs that succeeded and have no text here, newest first."""
        there = select(_texts.c.rowid).where(_texts.c.rowid == jobs.c.number)
        return (
            select(jobs.c.id)
            .where(jobs.c.status == JobStatus.SUCCEEDED.value, ~there.exists())
            .order_by(jobs.c.number.desc())
            .limit(limit)
        )


def select_excerpts(first: int, last: int, search: str) -> Select[Any] | None:
    """The number of each job from `first` to `last` whose transcript has the words, and where it has them.

    A range, not a list: for each number of a list FTS5 would look the words up anew.
    """
    query = parse_query(search)
    if query is None:
        return None
    snippet = func.snippet(
        literal_column("transcript_texts"), 0, OPENING, CLOSING, " … ", EXCERPT_WORDS, type_=Text
    )
    return select(_texts.c.rowid, snippet).where(_matches(query), _texts.c.rowid.between(first, last))


def _matches(query: Query) -> ColumnElement[bool]:
    return literal_column("transcript_texts").op("MATCH", is_comparison=True)(query.expression)
