"""What the nodes of a fleet share beside the jobs: who works on which, what is done of it, and the workers.

Times are the database's own, so that no node's clock counts. Every write about a job names its attempt, and does
nothing where that is not the current one any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from ....domain.jobs import Job
from ..database import Database
from ..rows import JobRows
from ..schema import jobs

#: The next job: higher priority first, then the owner with the fewest at work, then the order of acceptance. A row
#: that another worker is just taking is passed over.
_CHOOSE = text("""
    WITH working AS (SELECT owner, count(*) AS count FROM jobs WHERE status = 'running' GROUP BY owner)
    SELECT jobs.id FROM jobs
    LEFT JOIN working ON working.owner IS NOT DISTINCT FROM jobs.owner
    LEFT JOIN runs ON runs.job_id = jobs.id
    WHERE jobs.status = 'queued' AND (runs.not_before IS NULL OR runs.not_before <= now())
      AND (:has_gpu OR NOT coalesce((jobs.request ->> 'require_gpu')::boolean, false))
    ORDER BY jobs.priority DESC, coalesce(working.count, 0), jobs.number
    LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED
""")

_CLAIM = text("""
    UPDATE jobs SET status = 'running', attempts = attempts + 1, started_at = now()
    WHERE id = :job_id RETURNING attempts
""")

_BEGIN_RUN = text("""
    INSERT INTO runs (job_id, attempt, worker_id, heartbeat_at) VALUES (:job_id, :attempt, :worker_id, now())
    ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, worker_id = excluded.worker_id,
        heartbeat_at = excluded.heartbeat_at, not_before = NULL, progress = NULL
""")

_BEAT = text("""
    UPDATE runs SET heartbeat_at = now(), progress = CAST(:progress AS jsonb) FROM jobs
    WHERE runs.job_id = :job_id AND runs.attempt = :attempt
      AND jobs.id = runs.job_id AND jobs.status = 'running' AND jobs.attempts = runs.attempt
""")

_REPORT = text("""
    INSERT INTO workers (id, seen_at, facts) VALUES (:worker_id, now(), CAST(:facts AS jsonb))
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, facts = excluded.facts
""")

#: FOR SHARE: whoever takes the job from this attempt waits until its lines are written, or comes first.
_OWNS = text("""
    SELECT 1 FROM jobs WHERE id = :job_id AND status = 'running' AND attempts = :attempt FOR SHARE
""")

_ADD_LINE = text("INSERT INTO journal_lines (job_id, attempt, line) VALUES (:job_id, :attempt, :line)")

_LINES = text("""
    SELECT number, line FROM journal_lines WHERE job_id = :job_id AND number > :after ORDER BY number
""")

#: Jobs whose worker has not been heard of for so long; a running job without a run was claimed by a service on its own.
_RESCUE = text("""
    UPDATE jobs SET status = 'queued', started_at = NULL
    WHERE status = 'running' AND id IN (
        SELECT jobs.id FROM jobs LEFT JOIN runs ON runs.job_id = jobs.id AND runs.attempt = jobs.attempts
        WHERE jobs.status = 'running'
          AND coalesce(runs.heartbeat_at, jobs.started_at) < now() - make_interval(secs => :seconds)
        FOR UPDATE OF jobs SKIP LOCKED
    ) RETURNING id
""")

_WAIT = text("UPDATE runs SET not_before = now() + make_interval(secs => :seconds) WHERE job_id = :job_id")

#: What is not needed any more: a job's lines once it has ended, as its result has all of them.
_TIDY = (
    text("DELETE FROM journal_lines WHERE job_id NOT IN (SELECT id FROM jobs WHERE completed_at IS NULL)"),
    text("DELETE FROM runs WHERE job_id NOT IN (SELECT id FROM jobs WHERE completed_at IS NULL)"),
    text("DELETE FROM workers WHERE seen_at < now() - interval '1 day'"),
)

_COUNT_READY = text("""
    SELECT count(*) FROM jobs LEFT JOIN runs ON runs.job_id = jobs.id
    WHERE jobs.status = 'queued' AND (runs.not_before IS NULL OR runs.not_before <= now())
""")

_WORKERS = text(
    "SELECT id, seen_at, extract(epoch FROM now() - seen_at) AS age, facts FROM workers ORDER BY id"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """A worker as it last reported. age: seconds since then, by the database's clock."""

    id: str
    seen_at: datetime
    age: float
    facts: Mapping[str, Any]


class FleetStore:
    """The tables runs, journal_lines and workers. Safe to call from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = JobRows()

    def claim_next(self, worker_id: str, *, has_gpu: bool) -> Job | None:
        """queued → running for the job whose turn it is; None when none waits that this worker can do."""

        def claim(connection: Connection) -> Job | None:
            job_id = connection.execute(_CHOOSE, {"has_gpu": has_gpu}).scalar()
            if job_id is None:
                return None
            attempt = connection.execute(_CLAIM, {"job_id": job_id}).scalar_one()
            connection.execute(_BEGIN_RUN, {"job_id": job_id, "attempt": attempt, "worker_id": worker_id})
            row = connection.execute(jobs.select().where(jobs.c.id == job_id)).mappings().one()
            return self._rows.to_job(dict(row))

        return self._database.transaction(claim)

    def beat(self, runs: Sequence[tuple[str, int, Mapping[str, Any] | None]]) -> set[str]:
        """Say that these attempts go on, and how far they are; the ids of those that are not current any more."""

        def beat(connection: Connection) -> set[str]:
            lost = set()
            # In one order, so that two workers never wait for each other.
            for job_id, attempt, progress in sorted(runs, key=lambda run: run[0]):
                values = {"job_id": job_id, "attempt": attempt, "progress": json.dumps(progress)}
                if connection.execute(_BEAT, values).rowcount != 1:
                    lost.add(job_id)
            return lost

        return self._database.transaction(beat)

    def report(self, worker_id: str, facts: Mapping[str, Any]) -> None:
        """Keep what a worker says of itself."""
        values = {"worker_id": worker_id, "facts": json.dumps(facts)}
        self._database.transaction(lambda connection: connection.execute(_REPORT, values).rowcount)

    def workers(self) -> list[WorkerRow]:
        """All workers of the last day."""
        rows = self._database.read(lambda connection: connection.execute(_WORKERS).all())
        return [
            WorkerRow(id=row.id, seen_at=row.seen_at, age=max(0.0, float(row.age)), facts=row.facts)
            for row in rows
        ]

    def add_lines(self, job_id: str, attempt: int, lines: Sequence[str]) -> bool:
        """Keep lines of the job's journal; False, and nothing, if the attempt is not the current one."""
        owner = {"job_id": job_id, "attempt": attempt}

        def add(connection: Connection) -> bool:
            if connection.execute(_OWNS, owner).first() is None:
                return False
            connection.execute(_ADD_LINE, [owner | {"line": line} for line in lines])
            return True

        return self._database.transaction(add)

    def lines(self, job_id: str, after: int = 0) -> list[tuple[int, str]]:
        """The journal's lines with their numbers, from the one after `after` on."""
        values = {"job_id": job_id, "after": after}
        rows = self._database.read(lambda connection: connection.execute(_LINES, values).all())
        return [(row.number, row.line) for row in rows]

    def drop_lines(self, job_id: str) -> None:
        """Forget what is done of a job: it begins anew."""
        statement = text("DELETE FROM journal_lines WHERE job_id = :job_id")
        self._database.transaction(
            lambda connection: connection.execute(statement, {"job_id": job_id}).rowcount
        )

    def progress(self, job_id: str) -> Mapping[str, Any] | None:
        """How far the job's present attempt says it is."""
        statement = text("""
            SELECT progress FROM runs JOIN jobs ON jobs.id = runs.job_id AND jobs.attempts = runs.attempt
            WHERE job_id = :job_id AND jobs.status = 'running'
        """)
        return self._database.read(
            lambda connection: connection.execute(statement, {"job_id": job_id}).scalar()
        )

    def wait(self, job_id: str, seconds: float) -> None:
        """Let nobody claim a queued job that has been tried before for this long."""
        values = {"job_id": job_id, "seconds": seconds}
        self._database.transaction(lambda connection: connection.execute(_WAIT, values).rowcount)

    def rescue(self, seconds: float) -> list[str]:
        """running → queued for the jobs whose worker has not been heard of for so long; their ids."""
        return self._database.transaction(
            lambda connection: list(connection.execute(_RESCUE, {"seconds": seconds}).scalars())
        )

    def tidy(self) -> None:
        """Delete what is not needed any more."""

        def tidy(connection: Connection) -> None:
            for statement in _TIDY:
                connection.execute(statement)

        self._database.transaction(tidy)

    def ready(self) -> int:
        """How many jobs could be claimed now."""
        return int(self._database.read(lambda connection: connection.execute(_COUNT_READY).scalar_one()))
