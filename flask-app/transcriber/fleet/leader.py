"""What one node of a fleet alone does: the others look into an empty outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ..domain.jobs import Delivery
from ..domain.ports import Outbox


class LeaderOutbox:
    """The outbox, for the dispatcher of the node that leads."""

    def __init__(self, outbox: Outbox, leads: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._leads = leads

    def due(self, now: datetime, limit: int = 20) -> list[Delivery]:
        """Pending deliveries whose time has come, oldest first; none at a node that does not lead."""
        return self._outbox.due(now, limit) if self._leads() else []

    def next_due_at(self) -> datetime | None:
        """When the next pending delivery is due; None at a node that does not lead."""
        return self._outbox.next_due_at() if self._leads() else None

    def record(self, delivery: Delivery) -> None:
        """Keep the outcome of one try."""
        self._outbox.record(delivery)

    def of_job(self, job_id: str) -> list[Delivery]:
        """A job's deliveries, oldest first, for show."""
        return self._outbox.of_job(job_id)
