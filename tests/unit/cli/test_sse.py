"""Reading event streams."""

from __future__ import annotations

import pytest

from transcriber.cli.sse import iter_events
from transcriber.domain.feed import FeedEvent


def lines_of(text: str) -> list[str]:
    return text.splitlines()


def test_events_have_their_kind_data_and_number() -> None:
    text = (
        'retry: 2000\n\nid: 3\nevent: segment\ndata: {"id": 2}\n\nevent: progress\ndata: {"percent": 5.0}\n\n'
    )

    assert list(iter_events(lines_of(text))) == [
        FeedEvent(kind="segment", data={"id": 2}, number=3),
        FeedEvent(kind="progress", data={"percent": 5.0}),
    ]


def test_comment_is_a_sign_of_life() -> None:
    assert list(iter_events(lines_of(": still here\n\n"))) == [None]


def test_event_that_was_cut_off_is_dropped() -> None:
    whole = 'event: segment\nid: 1\ndata: {"id": 0}\n\n'

    assert len(list(iter_events(lines_of(whole + 'event: segment\nid: 2\ndata: {"id"')))) == 1
    assert list(iter_events(lines_of('event: done\ndata: {"a": 1}\n'))) == []


def test_carriage_returns_and_data_over_several_lines_are_read() -> None:
    text = 'event: done\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'

    assert list(iter_events(lines_of(text))) == [FeedEvent(kind="done", data={"a": 1})]


@pytest.mark.parametrize("data", ["no json", "[1]"])
def test_what_is_no_event_of_ours_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(iter_events(lines_of(f"event: done\ndata: {data}\n\n")))
