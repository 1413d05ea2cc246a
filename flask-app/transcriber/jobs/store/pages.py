"""How a list of jobs becomes a page."""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.jobs import Job
from ...domain.ports import JobPage


def page_of(jobs: Sequence[Job], limit: int) -> JobPage:
    """A page of `limit` jobs, newest first; one more in `jobs` means that there is a next page."""
    if limit < 1:
        raise ValueError("a page has at least one job")
    shown = tuple(jobs[:limit])
    return JobPage(jobs=shown, next_before=shown[-1].number if len(jobs) > limit else None)
