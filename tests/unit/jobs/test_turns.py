"""Whose turn it is: owners take turns, limits hold, and one owner's own order is that of rank."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from transcriber.jobs.turns import Turns, heads, in_turns


@dataclass(frozen=True)
class FakeJob:
    owner: str | None
    number: int

    @property
    def rank(self) -> tuple[int, int]:
        return 0, self.number


def jobs(text: str) -> list[FakeJob]:
    """`aab` is three jobs, two of a."""
    return [FakeJob(owner, number) for number, owner in enumerate(text)]


def taken(waiting: list[FakeJob], limit: int = 0, slots: int = 1) -> str:
    """The owners in the order in which one slot after the other takes their jobs."""
    turns, running, order = Turns(), Counter[str | None](), []
    waiting = list(waiting)
    at_work: list[FakeJob] = []
    while waiting:
        job = turns.choose(heads(waiting), running, lambda owner: limit)
        if job is None:
            running[at_work.pop(0).owner] -= 1
            continue
        waiting.remove(job)
        at_work.append(job)
        running[job.owner] += 1
        order.append(str(job.owner))
        if len(at_work) == slots:
            running[at_work.pop(0).owner] -= 1
    return "".join(order)


def test_one_owner_goes_by_rank() -> None:
    assert [job.number for job in in_turns(jobs("aaa"), {})] == [0, 1, 2]
    assert taken(jobs("aaa")) == "aaa"


def test_flood_delays_the_other_by_one_job_at_a_time() -> None:
    assert taken(jobs("aaaaaabb")) == "ababaaaa"
    assert taken(jobs("aaaaaabb"), slots=2) == "ababaaaa"


def test_who_comes_back_has_saved_no_turns() -> None:
    turns, running = Turns(), Counter[str | None]()
    for job in jobs("aaaaa"):
        assert turns.choose([job], running, lambda owner: 0) == job
    late, early = FakeJob("b", 90), FakeJob("a", 80)

    first = turns.choose([early, late], running, lambda owner: 0)
    second = turns.choose([early, late], running, lambda owner: 0)

    assert {first, second} == {early, late}


def test_owner_at_its_limit_is_passed_over() -> None:
    turns = Turns()

    chosen = turns.choose(heads(jobs("ab")), Counter(a=2), lambda owner: 2 if owner == "a" else 0)

    assert chosen == FakeJob("b", 1)
    assert turns.choose(heads(jobs("a")), Counter(a=2), lambda owner: 2) is None


def test_order_that_is_foreseen_is_the_order_that_comes() -> None:
    waiting = jobs("aaaabbc")

    assert "".join(str(job.owner) for job in in_turns(waiting, {})) == taken(waiting)
