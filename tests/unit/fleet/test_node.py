"""What a node reads from the store's journal."""

from __future__ import annotations

import json

from transcriber.fleet.node import add_line
from transcriber.jobs.files.journal import JournalState


def window(index: int) -> str:
    return json.dumps(
        {
            "kind": "window",
            "index": index,
            "device": "cpu",
            "segments": [],
            "history": None,
            "seconds": 1.0,
        }
    )


def test_line_that_does_not_go_with_those_before_it_is_left_out() -> None:
    """A window whose predecessor never reached the database: the next attempt does both."""
    state = JournalState()

    taken = [add_line(state, line) for line in (window(0), window(2), "{", window(1), window(2), window(2))]

    assert taken == [True, False, False, True, True, True]
    assert [each.index for each in state.windows] == [0, 1, 2]
