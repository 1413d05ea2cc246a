"""How many windows go together, as learned from batches that did not fit."""

from __future__ import annotations

from transcriber.engine.child.batch_limit import REMEMBERED_SECONDS, BatchLimit


def test_what_did_not_fit_is_not_tried_again_for_a_while() -> None:
    now = [0.0]
    room = BatchLimit(lambda: now[0])
    assert room.most(8) == 8

    assert room.note_failure(8) == 4
    assert (room.most(8), room.most(3)) == (4, 3)
    assert room.note_failure(3) == 1
    now[0] = REMEMBERED_SECONDS - 1
    assert room.most(8) == 1
    now[0] = REMEMBERED_SECONDS
    assert room.most(8) == 8
