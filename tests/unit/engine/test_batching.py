"""Batching: one key a batch, every job its turn, nobody starves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.batching import BatchKey, Candidate, select_batch

KEY = BatchKey(prompt_length=3, beam_size=5, temperatures=(0.0,))
OTHER = BatchKey(prompt_length=9, beam_size=5, temperatures=(0.0,))


def waiting(job: str, count: int, *, key: BatchKey = KEY, turn: int = 0, served: int = 0) -> list[Candidate]:
    return [
        Candidate(job_id=job, position=position, key=key, turn=turn, windows_served=served)
        for position in range(count)
    ]


def taken(batch: list[Candidate]) -> Counter[str]:
    return Counter(candidate.job_id for candidate in batch)


def test_nothing_waits_nothing_is_taken() -> None:
    assert select_batch([], 8) == []


def test_one_job_fills_the_batch_in_order() -> None:
    assert [one.position for one in select_batch(waiting("a", 20), 8)] == list(range(8))


def test_jobs_share_the_batch() -> None:
    batch = select_batch(waiting("long", 50) + waiting("short", 1) + waiting("middle", 3), 8)

    assert taken(batch) == {"long": 4, "short": 1, "middle": 3}


def test_rows_that_may_not_share_a_batch_wait() -> None:
    batch = select_batch(waiting("a", 2) + waiting("b", 2, key=OTHER, turn=1), 8)

    assert taken(batch) == {"a": 2}


def test_the_job_that_waited_longest_leads() -> None:
    batch = select_batch(waiting("late", 2, turn=5) + waiting("early", 2, key=OTHER, turn=4), 8)

    assert taken(batch) == {"early": 2}


def test_a_new_job_goes_before_one_that_was_just_served() -> None:
    batch = select_batch(waiting("long", 20, turn=7, served=40) + waiting("new", 1, key=OTHER, turn=7), 8)

    assert taken(batch) == {"new": 1}


def test_a_stream_of_new_jobs_does_not_starve_a_long_one() -> None:
    turns = {"long": 0}
    leaders = []
    for turn in range(1, 20):
        new = f"new-{turn}"
        turns[new] = turn - 1
        batch = select_batch(
            waiting("long", 20, turn=turns["long"], served=9) + waiting(new, 1, key=OTHER, turn=turns[new]), 8
        )
        leaders.append(batch[0].job_id)
        turns[batch[0].job_id] = turn

    assert leaders.count("long") >= 9


candidates = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from([KEY, OTHER]), st.integers(0, 3)), max_size=40
).map(
    lambda rows: [
        Candidate(job_id=job, position=position, key=key, turn=turn, windows_served=0)
        for position, (job, key, turn) in enumerate(rows)
    ]
)


@given(candidates, st.integers(1, 16))
def test_a_batch_has_one_key_and_no_more_rows_than_allowed(given_: list[Candidate], limit: int) -> None:
    batch = select_batch(given_, limit)

    assert len(batch) <= limit
    assert len({candidate.key for candidate in batch}) <= 1
    assert len({candidate.position for candidate in batch}) == len(batch)
    assert bool(batch) == bool(given_)
    same_key = [candidate for candidate in given_ if batch and candidate.key == batch[0].key]
    assert len(batch) == min(limit, len(same_key))
