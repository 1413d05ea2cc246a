"""Batching: groups stay whole, one key a batch, every job its turn, nobody starves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.child.batching import BatchKey, Candidate, group_of, select_batch

KEY = BatchKey(prompt_length=3, beam_size=5, temperatures=(0.0,))
OTHER = BatchKey(prompt_length=9, beam_size=5, temperatures=(0.0,))


def waiting(job: str, rows: int, *, key: BatchKey = KEY, turn: int = 0, served: int = 0) -> Candidate:
    return Candidate(job_id=job, rows=rows, key=key, turn=turn, windows_served=served)


def taken(batch: list[Candidate]) -> dict[str, int]:
    return {candidate.job_id: candidate.rows for candidate in batch}


def test_first_groups_are_small_so_that_the_first_text_comes_soon() -> None:
    groups = []
    index = 0
    while index < 40:
        groups.append(group_of(index, 8))
        index = groups[-1].stop

    assert [len(group) for group in groups] == [1, 2, 4, 8, 8, 8, 8, 8]


@given(st.integers(0, 500), st.integers(1, 20))
def test_every_window_has_one_group_and_no_group_is_larger_than_the_limit(index: int, limit: int) -> None:
    group = group_of(index, limit)

    assert index in group
    assert len(group) <= limit
    assert {group_of(other, limit) for other in group} == {group}


def test_nothing_waits_nothing_is_taken() -> None:
    assert select_batch([], 8) == []


def test_jobs_share_the_batch() -> None:
    batch = select_batch([waiting("long", 4), waiting("short", 1), waiting("middle", 3)], 8)

    assert taken(batch) == {"long": 4, "short": 1, "middle": 3}


def test_a_group_is_never_split() -> None:
    batch = select_batch([waiting("a", 5), waiting("b", 4, turn=1), waiting("c", 2, turn=2)], 8)

    assert taken(batch) == {"a": 5, "c": 2}


def test_a_leader_larger_than_the_limit_is_taken_all_the_same() -> None:
    assert taken(select_batch([waiting("rests", 9)], 8)) == {"rests": 9}


def test_rows_that_may_not_share_a_batch_wait() -> None:
    assert taken(select_batch([waiting("a", 2), waiting("b", 2, key=OTHER, turn=1)], 8)) == {"a": 2}


def test_the_job_that_waited_longest_leads() -> None:
    batch = select_batch([waiting("late", 2, turn=5), waiting("early", 2, key=OTHER, turn=4)], 8)

    assert taken(batch) == {"early": 2}


def test_a_new_job_goes_before_one_that_was_just_served() -> None:
    batch = select_batch([waiting("long", 8, turn=7, served=40), waiting("new", 1, key=OTHER, turn=7)], 8)

    assert taken(batch) == {"new": 1}


def test_a_stream_of_new_jobs_does_not_starve_a_long_one() -> None:
    turns = {"long": 0}
    leaders = []
    for turn in range(1, 20):
        new = f"new-{turn}"
        turns[new] = turn - 1
        batch = select_batch(
            [waiting("long", 8, turn=turns["long"], served=9), waiting(new, 1, key=OTHER, turn=turns[new])], 8
        )
        leaders.append(batch[0].job_id)
        turns[batch[0].job_id] = turn

    assert leaders.count("long") >= 9


candidates = st.lists(
    st.tuples(st.sampled_from([KEY, OTHER]), st.integers(0, 3), st.integers(1, 8)), max_size=20
).map(
    lambda rows: [
        waiting(str(number), size, key=key, turn=turn) for number, (key, turn, size) in enumerate(rows)
    ]
)


@given(candidates, st.integers(8, 16))
def test_a_batch_has_one_key_and_no_more_rows_than_allowed(given_: list[Candidate], limit: int) -> None:
    batch = select_batch(given_, limit)

    assert sum(candidate.rows for candidate in batch) <= limit
    assert len({candidate.key for candidate in batch}) <= 1
    assert len({candidate.job_id for candidate in batch}) == len(batch)
    assert bool(batch) == bool(given_)


def test_lanes_side_by_side_share_what_waits() -> None:
    clips = [waiting(str(number), 1, turn=number) for number in range(6)]

    first = select_batch(clips, 8, lanes=2)
    second = select_batch(clips[3:], 8, lanes=2)

    assert [one.job_id for one in first] == ["0", "1", "2"]
    assert [one.job_id for one in second] == ["3", "4"]


def test_a_group_is_taken_whole_though_another_lane_is_free() -> None:
    assert taken(select_batch([waiting("long", 4)], 8, lanes=2)) == {"long": 4}


def test_live_sound_leads_whoever_waited_longer() -> None:
    live = Candidate(job_id="live", rows=1, key=OTHER, turn=9, windows_served=40, is_live=True)

    assert taken(select_batch([waiting("long", 4), live], 8)) == {"live": 1}
