from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from transcriber.domain.comparison import compare, matches
from transcriptions import make_segment, untimed

words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=30)


def said(*texts: str) -> list[object]:
    return [
        make_segment(id=at, start=2.0 * at, end=2.0 * at + 2, text=f" {text}")
        for at, text in enumerate(texts)
    ]


def marked(pieces: object) -> str:
    return "".join(f"[{p.text}]" if p.is_different else p.text for p in pieces)  # type: ignore[attr-defined]


def test_words_that_only_one_has_are_marked() -> None:
    found = compare(said("Ask not what your country can do."), said("Ask now, what your Country can do!"))  # type: ignore[arg-type]

    [row] = found.rows
    assert marked(row.left) == " Ask[ not] what your country can do."
    assert marked(row.right) == " Ask[ now,] what your Country can do!"
    assert (found.left_words, found.right_words, found.left_only, found.right_only) == (7, 7, 1, 1)
    assert round(found.agreement, 3) == round(12 / 14, 3)


def test_segments_stand_beside_the_ones_they_overlap() -> None:
    left = [make_segment(start=0, end=4, text=" one two"), make_segment(id=1, start=4, end=8, text=" three")]
    right = [
        make_segment(start=0, end=2, text=" one"),
        make_segment(id=1, start=2, end=4, text=" two"),
        make_segment(id=2, start=4.5, end=8, text=" four"),
    ]

    rows = compare(left, right).rows

    assert [(marked(row.left), marked(row.right)) for row in rows] == [
        (" one two", " one two"),
        ("[ three]", "[ four]"),
    ]
    assert [row.is_different for row in rows] == [False, True]


def test_one_that_is_empty_is_all_different() -> None:
    found = compare([], said("one", "two"))  # type: ignore[arg-type]

    assert [marked(row.right) for row in found.rows] == ["[ one]", "[ two]"]
    assert found.agreement == 0 and compare([], []).agreement == 1


@untimed
@given(words, words)
def test_matches_rise_and_are_equal(a: list[str], b: list[str]) -> None:
    found = list(matches(a, b))

    assert all(a[at] == b[to] for at, to in found)
    assert all(x < y and p < q for (x, p), (y, q) in zip(found, found[1:], strict=False))


@untimed
@given(words)
def test_equal_texts_match_in_full(a: list[str]) -> None:
    assert list(matches(a, a)) == [(at, at) for at in range(len(a))]


def test_three_hours_are_compared_in_seconds() -> None:
    chance = random.Random(1)
    vocabulary = ["the", "of", "and"] * 200 + [f"w{number}" for number in range(3000)]
    texts = [" ".join(chance.choice(vocabulary) for _ in range(8)) for _ in range(5_000)]
    other = [" ".join("x" if chance.random() < 0.1 else word for word in text.split()) for text in texts]
    began = time.monotonic()

    found = compare(said(*texts), said(*other))  # type: ignore[arg-type]

    assert 0.88 < found.agreement < 0.92
    assert time.monotonic() - began < 15
