"""A web node's look at jobs that run elsewhere: those that somebody follows or waits for here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from ..domain.errors import JobNotFoundError, TranscriberError
from ..domain.jobs import JobStatus
from ..jobs.active_job import progress_data
from ..jobs.files.journal import JournalState
from ..service.facade import Service
from .node import FleetNode, add_line

logger = structlog.get_logger(__name__)

#: How often it looks, in seconds.
WATCH_SECONDS = 0.5

#: How often it says which jobs clients wait for here, in seconds.
WAITERS_SECONDS = 5.0

#: A job that is of use to a waiting client only, and whose node has not said so for so long, is cancelled. As long as a
#: client of OpenAI's routes may take to send its file again.
ABANDONED_SECONDS = 60.0


@dataclass(slots=True)
class _Seen:
    """What was seen of one job."""

    number: int = 0
    state: JournalState = field(default_factory=JournalState)
    shown: dict[str, Any] | None = None


class FleetWatch:
    """Tells the followers and waiters of this node what the tables say. A follower that comes back to any node gets
    each segment once: they are numbered by what they are, not by who tells them."""

    def __init__(self, node: FleetNode, service: Service, wake: Callable[[], None]) -> None:
        """wake: has the dispatcher look into the outbox, where workers put messages."""
        self._wake = wake
        self._node = node
        self._service = service
        self._seen: dict[str, _Seen] = {}
        self._next_look = 0.0

    def run(self, closing: threading.Event) -> None:
        """Thread: look until `closing`."""
        while not closing.wait(WATCH_SECONDS):
            self._wake()
            self._keep_waiters()
            followed = self._service.watched()
            self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in followed}
            for job_id in followed:
                try:
                    self._look(job_id)
                except JobNotFoundError:
                    continue
                except TranscriberError as error:
                    logger.warning("job_not_watched", job_id=job_id, code=error.code, error=error.message)
                except Exception:  # noqa: BLE001  one job's trouble is not that of all who wait here
                    logger.exception("job_not_watched", job_id=job_id)

    def _keep_waiters(self) -> None:
        """Say for whom clients wait here; the leading node ends what nobody waits for any more, and tidies up."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + WAITERS_SECONDS
        try:
            self._node.fleet.wait_for(self._service.waited_for())
            if not self._node.store.leads():
                return
            for job_id in self._node.fleet.abandoned(ABANDONED_SECONDS):
                logger.warning("job_abandoned", job_id=job_id, seconds=ABANDONED_SECONDS)
                self._service.give_up(job_id)
            self._node.fleet.tidy()
        except TranscriberError as error:
            logger.warning("fleet_not_reached", code=error.code, error=error.message)

    def _look(self, job_id: str) -> None:
        job = self._node.store.get(job_id)
        if job.status.is_final:
            self._service.tell_end(job)
            return
        if job.status is not JobStatus.RUNNING and job.attempts == 0:
            return
        seen = self._seen.setdefault(job_id, _Seen())
        for number, line in self._node.fleet.lines(job_id, seen.number):
            add_line(seen.state, line)
            seen.number = number
        progress = self._node.progress(job_id)
        shown = None if progress is None else progress_data(JobStatus.RUNNING, progress, None)
        is_news = shown != seen.shown
        seen.shown = shown
        self._service.tell_progress(job_id, seen.state.segments, shown if is_news else None)
