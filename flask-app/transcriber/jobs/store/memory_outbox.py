"""The outbox in memory, beside the job store in memory."""

from __future__ import annotations

import threading
from datetime import datetime

from ...domain.jobs import Delivery, DeliveryStatus


class MemoryOutbox:
    """Outbox that forgets everything with its process. Safe to call from any thread."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}
        self._lock = threading.Lock()

    def put(self, delivery: Delivery) -> None:
        """Take a new message; for the store that ends its job. Raises ValueError for an id that is taken."""
        with self._lock:
            if delivery.id in self._deliveries:
                raise ValueError(f"delivery {delivery.id} exists")
            self._deliveries[delivery.id] = delivery

    def drop(self, job_id: str) -> None:
        """Forget a job's messages; for the store that purges it."""
        with self._lock:
            kept = {key: one for key, one in self._deliveries.items() if one.job_id != job_id}
            self._deliveries = kept

    def due(self, now: datetime, limit: int = 20) -> list[Delivery]:
        """Pending deliveries whose time has come, oldest first."""
        return [delivery for delivery in self._pending() if delivery.next_try_at <= now][:limit]

    def next_due_at(self) -> datetime | None:
        """When the next pending delivery is due."""
        return next((delivery.next_try_at for delivery in self._pending()), None)

    def record(self, delivery: Delivery) -> None:
        """Keep the outcome of one try. Nothing happens where the delivery is gone, or has its outcome."""
        with self._lock:
            kept = self._deliveries.get(delivery.id)
            if kept is not None and kept.status is DeliveryStatus.PENDING:
                self._deliveries[delivery.id] = kept.evolve(
                    status=delivery.status,
                    tries=delivery.tries,
                    next_try_at=delivery.next_try_at,
                    last_status=delivery.last_status,
                    last_error=delivery.last_error,
                    delivered_at=delivery.delivered_at,
                )

    def of_job(self, job_id: str) -> list[Delivery]:
        """A job's deliveries, oldest first, for show."""
        with self._lock:
            return [delivery for delivery in self._deliveries.values() if delivery.job_id == job_id]

    def _pending(self) -> list[Delivery]:
        with self._lock:
            waiting = [one for one in self._deliveries.values() if one.status is DeliveryStatus.PENDING]
        return sorted(waiting, key=lambda delivery: delivery.next_try_at)
