"""Reading a window's tokens: nothing that the model wrote is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.child.decoding.timestamps import parse_window

BEGIN = 1000


def at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def parse(
    *tokens: int, duration: float = 20.0, truncated: bool = False
) -> tuple[list[tuple], float | None, bool]:
    parsed = parse_window(tokens, BEGIN, duration, truncated=truncated)
    drafts = [
        (round(draft.start, 2), round(draft.end, 2), [token for token in draft.tokens if token < BEGIN])
        for draft in parsed.drafts
    ]
    return drafts, None if parsed.resume_at is None else round(parsed.resume_at, 2), parsed.closed


def test_pairs_of_timestamps_part_the_text() -> None:
    drafts, resume_at, closed = parse(at(0), 1, 2, at(3), at(3.5), 3, at(6))

    assert drafts == [(0, 3, [1, 2]), (3.5, 6, [3])]
    assert (resume_at, closed) == (6, True)


def test_an_open_end_is_where_to_go_on() -> None:
    drafts, resume_at, closed = parse(at(0), 1, at(3), at(3))

    assert drafts == [(0, 3, [1])]
    assert (resume_at, closed) == (3, False)


def test_a_tail_without_a_last_timestamp_is_kept() -> None:
    drafts, resume_at, _ = parse(at(0), 1, at(3), at(3), 2, 4)

    assert drafts == [(0, 3, [1]), (3, 20, [2, 4])]
    assert resume_at is None


def test_a_truncated_tail_is_written_again() -> None:
    drafts, resume_at, closed = parse(at(0), 1, at(3), at(3), 2, 4, truncated=True)

    assert drafts == [(0, 3, [1])]
    assert (resume_at, closed) == (3, False)


def test_truncated_text_without_any_pair_is_kept() -> None:
    assert parse(at(0), 1, 2, truncated=True)[0] == [(0, 20, [1, 2])]


def test_text_without_timestamps_fills_the_window() -> None:
    assert parse(1, 2) == ([(0, 20, [1, 2])], None, False)


def test_times_stay_inside_the_window() -> None:
    assert parse(at(0), 1, at(29), duration=10.0)[0] == [(0, 10, [1])]


def test_no_tokens_no_text() -> None:
    assert parse() == ([(0, 20, [])], None, False)


@given(st.lists(st.integers(0, BEGIN + 1500), max_size=60), st.floats(0.1, 30))
def test_all_text_is_kept_inside_the_window(tokens: list[int], duration: float) -> None:
    parsed = parse_window(tokens, BEGIN, duration, truncated=False)

    assert [t for draft in parsed.drafts for t in draft.tokens if t < BEGIN] == [
        t for t in tokens if t < BEGIN
    ]
    assert all(0 <= draft.start <= draft.end <= duration for draft in parsed.drafts)
