"""The full-text index of PostgreSQL: a tsvector of words made here, so that both databases find the same.

PostgreSQL's own parsers know no accents without an extension and no words in scripts without spaces. So words come
from `full_text`, as SQLite's do, and PostgreSQL stores and looks them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    cast,
    delete,
    false,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY, TSVECTOR, insert

from ....domain.jobs import JobStatus
from ....domain.ports import Excerpt
from ..full_text import EXCERPT_WORDS, Query, indexed, mark, parse_query, plain_parts, plain_word
from ..schema import jobs

#: Of itself, so that only the migration of PostgreSQL makes it.
metadata = MetaData()

_texts = Table(
    "transcript_texts",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    #: Words with spaces between them, one space each.
    Column("text", Text, nullable=False),
    #: The same words, as many of them, in lower case and without accents; parts of one word with ' between them.
    Column("plain", Text, nullable=False),
    Column("words", TSVECTOR, nullable=False),
    Index("ix_transcript_texts_words", "words", postgresql_using="gin"),
)

#: A word of the index is cut here: PostgreSQL takes 2,046 bytes.
MAX_WORD = 500

#: Bytes of words that one text may put into the index: PostgreSQL takes 1 MiB of them. A text with more different
#: words than that is found by the first of them only.
MAX_WORDS_BYTES = 900_000

#: A word that is punctuation alone: it matches nothing, and keeps its place.
_NO_WORD = "'"


class PostgresTextIndex:
    """TextIndex over the table transcript_texts."""

    def matching(self, search: str) -> Select[Any] | None:
        """Selects the numbers of jobs whose text has all words; None where there is no word in `search`."""
        query = parse_query(search)
        return None if query is None else select(_texts.c.number).where(_matches(query))

    def excerpts(self, connection: Connection, numbers: list[int], search: str) -> Mapping[int, Excerpt]:
        """Where these jobs' texts have the words: the words around the first that is found."""
        query = parse_query(search)
        if query is None:
            return {}
        statement = select(_texts.c.number, _around(_first_place(query))).where(
            _texts.c.number.in_(numbers), _matches(query)
        )
        return {number: mark(words, query) for number, words in connection.execute(statement)}

    def has(self, connection: Connection, number: int) -> bool:
        """Whether the job's text is in the index."""
        return (
            connection.execute(select(_texts.c.number).where(_texts.c.number == number)).first() is not None
        )

    def put(self, connection: Connection, number: int, text: str) -> None:
        """Store the text, replacing an earlier one."""
        words = indexed(text).split()
        plain = [_plain(word) for word in words]
        values = {
            "text": " ".join(words),
            "plain": " ".join(plain),
            "words": func.array_to_tsvector(cast(literal(_lexemes(plain), ARRAY(Text)), ARRAY(Text))),
        }
        statement = insert(_texts).values(number=number, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["number"], set_=values))

    def drop(self, connection: Connection, number: int | None) -> None:
        """Take the text out, if it is there."""
        connection.execute(delete(_texts).where(_texts.c.number == number))

    def unindexed(self, limit: int) -> Select[Any]:
        """Selects the ids of jobs that succeeded and have no text here, newest first."""
        there = select(_texts.c.number).where(_texts.c.number == jobs.c.number)
        return (
            select(jobs.c.id)
            .where(jobs.c.status == JobStatus.SUCCEEDED.value, ~there.exists())
            .order_by(jobs.c.number.desc())
            .limit(limit)
        )


def _plain(word: str) -> str:
    """The parts of a word that people can look for, as they stand in the index."""
    return "'".join(part[:MAX_WORD] for part in plain_parts(word)) or _NO_WORD


def _lexemes(plain: Iterable[str]) -> list[str]:
    """Every word once, as many as PostgreSQL takes."""
    found = dict.fromkeys(part for word in plain for part in word.split("'") if part)
    room = MAX_WORDS_BYTES
    kept = []
    for word in found:
        room -= len(word.encode()) + 4
        if room < 0:
            break
        kept.append(word)
    return kept


def _parts(word: str) -> list[str]:
    """A word of a query, as its parts stand in the index: of a script without spaces, one a character."""
    parts = (plain_word(part)[:MAX_WORD] for part in indexed(word).split())
    return [part for part in parts if part]


def _matches(query: Query) -> ColumnElement[bool]:
    """The index finds the parts; that they stand one after the other is looked at in the text."""
    wanted = [_parts(word) for word in query.words]
    terms = [f"'{part}'" for parts in wanted for part in parts]
    if not terms:
        return false()
    if query.is_open:
        terms[-1] += ":*"
    expression = cast(" & ".join(terms), TSQUERY)
    found: list[ColumnElement[bool]] = [_texts.c.words.op("@@", is_comparison=True)(expression)]
    phrases = [place for parts, place in zip(wanted, _places(query), strict=True) if len(parts) > 1]
    return and_(*found, *(place > 0 for place in phrases))


def _places(query: Query) -> list[ColumnElement[int]]:
    """Where in `plain` each word of the query begins, from 1; 0: nowhere."""
    spaced = literal(" ").concat(func.translate(_texts.c.plain, "'", " ")).concat(" ")
    places: list[ColumnElement[int]] = []
    for number, word in enumerate(query.words):
        may_go_on = query.is_open and number == len(query.words) - 1
        phrase = " " + " ".join(_parts(word)) + ("" if may_go_on else " ")
        places.append(func.strpos(spaced, phrase))
    return places


def _first_place(query: Query) -> ColumnElement[int]:
    """How many words of the text stand before the first that is looked for."""
    places = [func.nullif(place, 0) for place in _places(query)]
    first = places[0] if len(places) == 1 else func.least(*places)
    before = func.left(_texts.c.plain, func.coalesce(first, 1) - 1)
    return func.length(before) - func.length(func.replace(before, " ", ""))


def _around(place: ColumnElement[int]) -> ColumnElement[str]:
    first = func.greatest(place + 1 - EXCERPT_WORDS // 2, 1)
    words = func.string_to_array(_texts.c.text, " ", type_=ARRAY(Text))
    return func.array_to_string(words[first : first + (EXCERPT_WORDS - 1)], " ")
