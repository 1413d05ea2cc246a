"""Pure policy: which windows go through the model together, and whose turn it is.

The windows of a job go in groups that its own length alone decides, so that a job that is repeated or resumed
has the same batches whatever else the engine had to do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

#: Jobs of the short lane do not wait for batches of the long one; live ones, for which somebody waits right now, lead.
LIVE, SHORT, LONG = "live", "short", "long"
LANES = (LIVE, SHORT, LONG)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanePlan:
    """Batches at once: `shared` for all jobs, and where `has_short` one more for clips that found only long files.

    Then clips and long files share no batch either.
    """

    shared: int = 1
    has_short: bool = False

    @property
    def total(self) -> int:
        return self.shared + self.has_short


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchKey:
    """What has to be the same in every row of a batch.

    CTranslate2 demands it of the place of start-of-transcript and of the search options; languages and tasks may
    differ. lane: set where a clip shall not wait for the rows of a long file.
    """

    prompt_length: int
    beam_size: int
    temperatures: tuple[float, ...]
    lane: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """The group of windows that a job wants decoded next; it is taken whole.

    turn: the batch in which its job last took part, or that ran when the job arrived. windows_served:
    how many windows the job has had, so that of two jobs with the same turn the newer one leads.
    """

    job_id: str
    rows: int
    key: Hashable
    turn: int
    windows_served: int
    is_live: bool = False


def group_of(index: int, limit: int) -> range:
    """The windows that are decoded together with this one.

    The first groups are small, for the first text to come soon: 1, 2, 4, … and then `limit` windows each.
    """
    start, size = 0, 1
    while size < limit and index >= start + size:
        start += size
        size = min(2 * size, limit)
    start += (index - start) // size * size
    return range(start, start + size)


def select_batch(candidates: Sequence[Candidate], limit: int, lanes: int = 1) -> list[Candidate]:
    """Groups with one key and at most `limit` windows in all; a live job leads, or the one that waited longest.

    The leader is taken in any case; of the others, in their turn, those that still fit. `lanes`: how many batches
    run side by side: no batch takes more than its share of what waits, so that no lane is left without.
    """
    order = sorted(candidates, key=lambda one: (not one.is_live, one.turn, one.windows_served))
    fellows = [one for one in order if one.key == order[0].key]
    share = -(-sum(one.rows for one in fellows) // lanes)
    chosen = fellows[:1]
    room = min(limit, share) - sum(one.rows for one in chosen)
    for candidate in fellows[1:]:
        if candidate.rows <= room:
            chosen.append(candidate)
            room -= candidate.rows
    return chosen
