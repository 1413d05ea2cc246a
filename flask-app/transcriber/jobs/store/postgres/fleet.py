"""What the nodes of a fleet share beside the jobs: who works on which, what is done of it, and the workers.

Times are the database's own, so that no node's clock counts. Every write about a job names its attempt, and does
nothing where that is not the current one any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from ....domain.jobs import Job
from ...queue import WaitingJob
from ..database import Database
from ..rows import JobRows
from ..schema import jobs

#: The next job: higher priority first, then the owner with the fewest at work, then the order of acceptance. A row
#: that another worker is just taking is passed over. Of each owner only the first rows are looked at, by the index
#: ix_jobs_turns, so that a long queue costs no more than a short one.
_CHOOSE = text("""
    WITH RECURSIVE owners (owner) AS (
        (SELECT coalesce(owner, '') FROM jobs WHERE status = 'queued' ORDER BY coalesce(owner, '') LIMIT 1)
        UNION ALL
        SELECT (
            SELECT coalesce(jobs.owner, '') FROM jobs
            WHERE jobs.status = 'queued' AND coalesce(jobs.owner, '') > owners.owner
            ORDER BY coalesce(jobs.owner, '') LIMIT 1
        ) FROM owners WHERE owners.owner IS NOT NULL
    ),
    working AS (
        SELECT coalesce(owner, '') AS owner, count(*) AS count FROM jobs WHERE status = 'running' GROUP BY 1
    ),
    heads AS (
        SELECT head.number, head.priority, coalesce(working.count, 0) AS count
        FROM owners
        LEFT JOIN working ON working.owner = owners.owner
        LEFT JOIN api_keys ON api_keys.id = owners.owner
        CROSS JOIN LATERAL (
            SELECT jobs.number, jobs.priority FROM jobs
            WHERE jobs.status = 'queued' AND coalesce(jobs.owner, '') = owners.owner
              AND (:has_gpu OR NOT jobs.needs_gpu)
              AND (
                CASE WHEN coalesce(jobs.expected_seconds <= :short_seconds, false)
                THEN :takes_short ELSE :takes_long END
              )
              AND coalesce((SELECT runs.not_before FROM runs WHERE runs.job_id = jobs.id) <= now(), true)
            ORDER BY jobs.priority DESC, jobs.number LIMIT 16
        ) AS head
        WHERE owners.owner IS NOT NULL
          AND (coalesce(api_keys.max_jobs, 0) = 0 OR coalesce(working.count, 0) < api_keys.max_jobs)
        ORDER BY head.priority DESC, 3, head.number LIMIT 32
    )
    SELECT jobs.id FROM heads JOIN jobs ON jobs.number = heads.number
    WHERE jobs.status = 'queued'
    ORDER BY heads.priority DESC, heads.count, heads.number
    LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED
""")

#: The planner takes an owner's queue for short, and would rather read and sort all of it than follow the index.
_FOLLOW_INDEX = text("SET LOCAL enable_bitmapscan = off")

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
    *(
        text(f"DELETE FROM {table} WHERE job_id NOT IN (SELECT id FROM jobs WHERE completed_at IS NULL)")
        for table in ("runs", "waiters")
    ),
    text("DELETE FROM workers WHERE seen_at < now() - interval '1 day'"),
)

_COUNT_READY = text("""
    SELECT coalesce(expected_seconds <= :short_seconds, false) AS is_short, needs_gpu, count(*) AS jobs
    FROM jobs LEFT JOIN runs ON runs.job_id = jobs.id
    WHERE status = 'queued' AND (not_before IS NULL OR not_before <= now())
    GROUP BY 1, 2
""")

_EXPECT = text("UPDATE jobs SET expected_seconds = :seconds WHERE id = :job_id")

_LINE = text("""
    SELECT id, number, priority, owner FROM jobs WHERE status = 'queued' ORDER BY priority DESC, number LIMIT :limit
""")

_WAIT_FOR = text("""
    INSERT INTO waiters (job_id, seen_at) VALUES (:job_id, now())
    ON CONFLICT (job_id) DO UPDATE SET seen_at = now()
""")

#: Jobs that are of use to a waiting client only, and whose client's node has not said for so long that it is there.
_ABANDONED = text("""
    SELECT jobs.id FROM jobs LEFT JOIN waiters ON waiters.job_id = jobs.id
    WHERE jobs.completed_at IS NULL AND jobs.is_awaited
      AND coalesce(waiters.seen_at, jobs.created_at) < now() - make_interval(secs => :seconds)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Which jobs a worker takes. short_seconds: a job that is expected to have no more audio is short."""

    short_seconds: float = 0.0
    takes_short: bool = True
    takes_long: bool = True


ANY_LENGTH = Lengths()


class FleetStore:
    """The tables runs, journal_lines and workers. Safe to call from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = JobRows()

    def claim_next(self, worker_id: str, *, has_gpu: bool, lengths: Lengths = ANY_LENGTH) -> Job | None:
        """queued → running for the job whose turn it is; None when none waits that this worker can do."""
        terms = {"has_gpu": has_gpu, **asdict(lengths)}

        def claim(connection: Connection) -> Job | None:
            connection.execute(_FOLLOW_INDEX).close()
            job_id = connection.execute(_CHOOSE, terms).scalar()
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

    def expect(self, job_id: str, seconds: float) -> None:
        """Keep how long the job's audio is thought to be."""
        values = {"job_id": job_id, "seconds": seconds}
        self._database.transaction(lambda connection: connection.execute(_EXPECT, values).rowcount)

    def line(self, limit: int) -> list[WaitingJob]:
        """The jobs that wait, the next one first."""
        rows = self._database.read(lambda connection: connection.execute(_LINE, {"limit": limit}).all())
        return [
            WaitingJob(job_id=row.id, number=row.number, priority=row.priority, owner=row.owner)
            for row in rows
        ]

    def wait_for(self, job_ids: Iterable[str]) -> None:
        """Somebody waits for these jobs now."""
        values = [{"job_id": job_id} for job_id in sorted(job_ids)]
        if values:
            self._database.transaction(lambda connection: connection.execute(_WAIT_FOR, values).rowcount)

    def abandoned(self, seconds: float) -> list[str]:
        """Jobs that somebody was to wait for, and nobody has for so long."""
        return self._database.read(
            lambda connection: list(connection.execute(_ABANDONED, {"seconds": seconds}).scalars())
        )

    def ready(self, short_seconds: float = 0.0) -> dict[tuple[bool, bool], int]:
        """How many jobs could be claimed now, by whether they are short and require a GPU."""
        rows = self._database.read(
            lambda connection: connection.execute(_COUNT_READY, {"short_seconds": short_seconds}).all()
        )
        return {(row.is_short, row.needs_gpu): int(row.jobs) for row in rows}
