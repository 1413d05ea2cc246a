"""Words as the full-text index knows them, and queries of people as it reads them (SQLite's FTS5). Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass

from ...domain.edits import SPACELESS
from ...domain.ports import Excerpt, ExcerptPart

#: Around a match in FTS5's snippets; no transcript keeps control characters.
OPENING, CLOSING = "\x02", "\x03"

#: Words around the match in an excerpt.
EXCERPT_WORDS = 16

#: Words of a query that are looked for; more are left out.
MAX_QUERY_WORDS = 16

_SPACELESS = re.compile(rf"([{SPACELESS}])")
#: Also the punctuation that such scripts have.
_CLOSE = rf"{SPACELESS}\u3001-\u303f\uff00-\uff65"
_BETWEEN = re.compile(rf"(?<=[{_CLOSE}])([{OPENING}{CLOSING}]*) (?=[{OPENING}{CLOSING}]*[{_CLOSE}])")
_WORD = re.compile(r"[^\W_]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: the words of the query, in any order; the last may be the beginning of one.

    A single character is no beginning: it begins a fifth of all words, and looking those up takes seconds.
    """

    words: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether the last word may go on."""
        return len(self.words[-1]) > 1

    @property
    def expression(self) -> str:
        """As FTS5 reads it: every word quoted, so that none is an operator."""
        quoted = [f'"{indexed(word).strip()}"' for word in self.words]
        return " AND ".join([*quoted[:-1], f"{quoted[-1]}*" if self.is_open else quoted[-1]])


def parse_query(text: str) -> Query | None:
    """The query a person typed; None when there is no word in it."""
    words = _WORD.findall(_CONTROL.sub(" ", text))
    return Query(tuple(words[:MAX_QUERY_WORDS])) if words else None


def indexed(text: str) -> str:
    """The text with spaces where its script has none, so that each character is found."""
    return " ".join(_SPACELESS.sub(r" \1 ", _CONTROL.sub(" ", text)).split())


def excerpt(snippet: str) -> Excerpt:
    """A snippet of FTS5 cut at its matches, without the spaces that `indexed` put in."""
    text = _BETWEEN.sub(r"\1", snippet)
    parts = []
    for number, piece in enumerate(text.split(OPENING)):
        matched, _, rest = piece.rpartition(CLOSING) if number else ("", "", piece)
        parts += [ExcerptPart(matched, is_match=True), ExcerptPart(rest, is_match=False)]
    return Excerpt(tuple(part for part in parts if part.text))


def find_in(text: str, query: Query) -> Excerpt | None:
    """What the index would find in this text, for a store that has none."""
    words = indexed(text).split()
    found = _places(words, query)
    if not all(found):
        return None
    hits = set().union(*found)
    begin = max(0, min(hits) - EXCERPT_WORDS // 2)
    return _marked(words, range(begin, min(len(words), begin + EXCERPT_WORDS)), hits)


def mark(text: str, query: Query) -> Excerpt:
    """A stretch of an indexed text, with the words that are looked for marked as far as they are in it."""
    words = text.split()
    return _marked(words, range(len(words)), set().union(*_places(words, query)))


def plain_parts(word: str) -> list[str]:
    """The parts of a word that the index knows: "don't" is don and t."""
    parts = (plain_word(part) for part in _WORD.findall(word))
    return [part for part in parts if part]


def plain_word(word: str) -> str:
    """Lower case, without accents and punctuation."""
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in apart if c.isalnum())


def _marked(words: Sequence[str], shown: range, hits: Set[int]) -> Excerpt:
    return excerpt(" ".join(f"{OPENING}{words[at]}{CLOSING}" if at in hits else words[at] for at in shown))


def _places(words: Sequence[str], query: Query) -> list[set[int]]:
    """Of each word of the query, the words that it stands in."""
    parts, owners = [], []
    for at, word in enumerate(words):
        for part in plain_parts(word):
            parts.append(part)
            owners.append(at)
    found = []
    for number, one in enumerate(query.words):
        wanted = [plain_word(part) for part in indexed(one).split()]
        may_go_on = query.is_open and number == len(query.words) - 1
        begins = [at for at in range(len(parts)) if _stands(parts, at, wanted, may_go_on)]
        found.append({owners[at + step] for at in begins for step in range(len(wanted))})
    return found


def _stands(words: Sequence[str], at: int, parts: Sequence[str], is_beginning: bool) -> bool:
    here = words[at : at + len(parts)]
    if len(here) < len(parts) or list(here[:-1]) != list(parts[:-1]):
        return False
    return here[-1].startswith(parts[-1]) if is_beginning else here[-1] == parts[-1]
