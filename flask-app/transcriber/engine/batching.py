"""Pure policy: which waiting windows go through the model together next."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchKey:
    """What CTranslate2 demands to be the same in every row of a batch.

    Languages and tasks may differ; the place of start-of-transcript and the search options may not.
    """

    prompt_length: int
    beam_size: int
    temperatures: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A window that may be taken now.

    turn: the batch in which its job last took part, or that ran when the job arrived. windows_served:
    how many windows the job has had, so that of two jobs with the same turn the newer one leads.
    """

    job_id: str
    position: int
    key: Hashable
    turn: int
    windows_served: int


def select_batch(candidates: Sequence[Candidate], limit: int) -> list[Candidate]:
    """At most `limit` candidates with one key: the job that waited longest leads, then each job in turn.

    Candidates of one job are given, and taken, in the order of their windows.
    """
    jobs: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        jobs.setdefault(candidate.job_id, []).append(candidate)
    if not jobs:
        return []
    order = sorted(jobs.values(), key=lambda own: (own[0].turn, own[0].windows_served))
    key = order[0][0].key
    queues = deque(deque(one for one in own if one.key == key) for own in order)
    chosen: list[Candidate] = []
    while queues and len(chosen) < limit:
        queue = queues.popleft()
        if queue:
            chosen.append(queue.popleft())
            queues.append(queue)
    return chosen
