"""The outbox in the job store's own database: a message enters in the transaction that ends its job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select

from ...domain.jobs import Delivery
from . import queries
from .database import Database
from .rows import to_delivery


class SqlOutbox:
    """Outbox over the database of a SqlJobStore, which closes it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: datetime, limit: int = 20) -> list[Delivery]:
        """Pending deliveries whose time has come, oldest first."""
        return self._list(queries.select_due_deliveries(now, limit))

    def next_due_at(self) -> datetime | None:
        """When the next pending delivery is due."""
        first = self._list(queries.select_next_delivery())
        return first[0].next_try_at if first else None

    def record(self, delivery: Delivery) -> None:
        """Keep the outcome of one try. Nothing happens where the delivery is gone, or has its outcome."""
        self._database.transaction(
            lambda connection: connection.execute(queries.update_delivery(delivery)).rowcount
        )

    def of_job(self, job_id: str) -> list[Delivery]:
        """A job's deliveries, oldest first, for show."""
        return self._list(queries.select_deliveries(job_id))

    def _list(self, statement: Select[Any]) -> list[Delivery]:
        rows = self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [to_delivery(dict(row)) for row in rows]
