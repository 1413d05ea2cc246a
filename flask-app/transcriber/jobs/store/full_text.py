"""Words as the full-text index knows them, and queries of people as it reads them (SQLite's FTS5). Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
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
    words = re.findall(r"[^\W_]+", _CONTROL.sub(" ", text))
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
    plain = [plain_word(word) for word in words]
    hits = _hits(plain, [plain_word(word) for word in query.words], is_open=query.is_open)
    if hits is None:
        return None
    begin = max(0, min(hits) - EXCERPT_WORDS // 2)
    shown = range(begin, min(len(words), begin + EXCERPT_WORDS))
    marked = [f"{OPENING}{words[at]}{CLOSING}" if at in hits else words[at] for at in shown]
    return excerpt(" ".join(marked))


def plain_word(word: str) -> str:
    """Lower case, without accents and punctuation."""
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in apart if c.isalnum())


def _hits(words: Sequence[str], wanted: Sequence[str], *, is_open: bool) -> set[int] | None:
    """Where the wanted words stand; None unless each stands somewhere."""
    found: set[int] = set()
    for number, one in enumerate(wanted):
        parts = indexed(one).split()
        may_go_on = is_open and number == len(wanted) - 1
        places = [at for at in range(len(words)) if _stands(words, at, parts, may_go_on)]
        if not places:
            return None
        found |= {at + step for at in places for step in range(len(parts))}
    return found


def _stands(words: Sequence[str], at: int, parts: Sequence[str], is_beginning: bool) -> bool:
    here = words[at : at + len(parts)]
    if len(here) < len(parts) or list(here[:-1]) != list(parts[:-1]):
        return False
    return here[-1].startswith(parts[-1]) if is_beginning else here[-1] == parts[-1]
