from __future__ import annotations

import pytest

from transcriber.domain.ports import Excerpt
from transcriber.jobs.store.full_text import CLOSING, OPENING, excerpt, find_in, indexed, parse_query


def shown(found: Excerpt | None) -> str | None:
    return found and "".join(f"[{part.text}]" if part.is_match else part.text for part in found.parts)


@pytest.mark.parametrize("text", ["", "  ", "…", '"*"', "\x02"])
def test_a_query_without_words_is_none(text: str) -> None:
    assert parse_query(text) is None


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("ask", '"ask"*'),
        ("Ask NOT", '"Ask" AND "NOT"*'),
        ('a" OR bee:*', '"a" AND "OR" AND "bee"*'),
        ("ask b", '"ask" AND "b"'),
        ("世界", '"世 界"*'),
    ],
)
def test_no_word_of_a_query_is_an_operator(text: str, expression: str) -> None:
    query = parse_query(text)

    assert query is not None and query.expression == expression


def test_texts_without_spaces_get_some() -> None:
    assert indexed("Hi 你好\x02吗") == "Hi 你 好 吗"


def test_excerpt_is_cut_at_its_matches_and_closed_up() -> None:
    assert shown(excerpt(f"… one {OPENING}two{CLOSING} three")) == "… one [two] three"
    assert shown(excerpt(f"你 {OPENING}好{CLOSING} 吗 a")) == "你[好]吗 a"


@pytest.mark.parametrize(
    ("text", "query", "found"),
    [
        ("Ask not what", "NOT", "Ask [not] what"),
        ("Ask not what", "wh", "Ask not [what]"),
        ("Ask not what", "wh ask", None),
        ("Ask not what", "w", None),
        ("Ask not w hat", "w", "Ask not [w] hat"),
        ("Größe zählt", "grosse", "[Größe] zählt"),
        ("你好世界", "世界", "你好[世][界]"),
        ("Ask", "never", None),
    ],
)
def test_a_store_without_an_index_finds_the_same(text: str, query: str, found: str | None) -> None:
    parsed = parse_query(query)

    assert parsed is not None and shown(find_in(text, parsed)) == found
