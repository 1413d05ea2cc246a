"""The counters of a chaos run, as Jepsen counts a queue: what was asked for, what was promised, what became of it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chaos_client import Order
from webhook_receiver import Received

#: What two transcriptions of one file must have in common to count as equal.
SAME = ("text", "segments", "language", "duration", "model", "task", "compute_type", "device", "requested")


@dataclass
class Tally:
    """All that was counted. A list holds what must not be there."""

    attempted: int = 0
    #: Answered with 202.
    acknowledged: int = 0
    #: Tries that got no answer, and jobs found stored all the same when the client sent them again.
    unanswered: int = 0
    recovered: int = 0
    succeeded: int = 0
    #: Attempts beyond the first, of all jobs.
    more_attempts: int = 0
    #: Acknowledged, and not succeeded.
    lost: list[str] = field(default_factory=list)
    #: More rows or results than orders.
    duplicated: list[str] = field(default_factory=list)
    #: Another answer than an untouched run's.
    altered: list[str] = field(default_factory=list)
    webhooks_received: int = 0
    #: Received more than once under the same delivery id, as may be.
    webhooks_repeated: int = 0
    webhooks_missing: list[str] = field(default_factory=list)
    #: A job told under two delivery ids.
    webhooks_duplicated: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        found = []
        for name in ("lost", "duplicated", "altered", "webhooks_missing", "webhooks_duplicated"):
            found += [f"{name}: {each}" for each in getattr(self, name)]
        if self.acknowledged != self.attempted:
            found.append(f"{self.attempted - self.acknowledged} orders were never acknowledged")
        return found

    def report(self) -> str:
        shown = {k: len(v) if isinstance(v, list) else v for k, v in asdict(self).items()}
        shown["kills"] = dict(self.kills) | {"total": self.kills.total()}
        return json.dumps(shown, indent=2)


def count(
    orders: Sequence[Order],
    ended: Mapping[str, Mapping[str, Any]],
    untouched: Mapping[str, Mapping[str, Any]],
    data_dir: Path,
    received: Iterable[Received] | None = None,
) -> Tally:
    """Judge a run whose server is stopped.

    ended: jobs as the API showed them, by id. untouched: those of a run without faults, by the audio's name.
    received: what the receiver of webhooks got; None: there was none.
    """
    counts = Tally(attempted=len(orders))
    for order in orders:
        counts.unanswered += order.unanswered
        if order.job_id is None:
            continue
        counts.acknowledged += 1
        counts.recovered += bool(order.was_replayed and order.unanswered)
        _count_job(counts, order, ended.get(order.job_id, {"status": "unknown"}), untouched)
    _count_stored(counts, orders, data_dir)
    if received is not None:
        _count_webhooks(counts, orders, received)
    return counts


def _count_job(
    counts: Tally, order: Order, job: Mapping[str, Any], untouched: Mapping[str, Mapping[str, Any]]
) -> None:
    if job["status"] != "succeeded":
        counts.lost.append(f"{order.key} {order.job_id} is {job['status']}: {job.get('error')}")
        return
    counts.succeeded += 1
    counts.more_attempts += job["attempts"] - 1
    if order.audio.name in untouched:
        other = differences(job, untouched[order.audio.name])
        if other:
            counts.altered.append(f"{order.key} ({order.audio.name}): {'; '.join(other)}")


def differences(job: Mapping[str, Any], untouched: Mapping[str, Any]) -> list[str]:
    """In what two answers differ, all of it shortened."""
    return [
        f"{name} {_first_difference(job[name], untouched[name])}"
        for name in SAME
        if job[name] != untouched[name]
    ]


def _first_difference(one: Any, other: Any) -> str:
    if isinstance(one, list) and isinstance(other, list):
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            if left != right:
                names = [name for name in left if left[name] != right.get(name)]
                shown = [(left[name], right.get(name)) for name in names]
                return f"from number {index} on, in {names}: {str(shown)[:300]}"
        return f"{len(one)} as against {len(other)}"
    return f"{str(one)[:200]!r} as against {str(other)[:200]!r}"


def _count_stored(counts: Tally, orders: Sequence[Order], data_dir: Path) -> None:
    """One row an order and one result a job that succeeded: seen on the disk, not through the service."""
    rows = stored_jobs(data_dir)
    keys = Counter(row["idempotency_key"] for row in rows)
    wanted = {order.key: order.job_id for order in orders}
    counts.duplicated += [f"{n} rows with the key {key}" for key, n in keys.items() if n > 1]
    counts.duplicated += [
        f"a row that nobody ordered: {row['id']}" for row in rows if row["idempotency_key"] not in wanted
    ]
    ids = {row["idempotency_key"]: row["id"] for row in rows}
    for key, job_id in wanted.items():
        if job_id is not None and ids.get(key) != job_id:
            counts.lost.append(f"{key} was acknowledged as {job_id}, and the store has {ids.get(key)}")
    results = {path.stem for path in (data_dir / "results").glob("*.json")}
    succeeded = {row["id"] for row in rows if row["status"] == "succeeded"}
    counts.duplicated += [f"a result without its job: {each}" for each in sorted(results - succeeded)]
    counts.lost += [f"no result file of {each}" for each in sorted(succeeded - results)]


def stored_jobs(data_dir: Path) -> list[dict[str, Any]]:
    """The rows of a store whose service is stopped."""
    with contextlib.closing(sqlite3.connect(data_dir / "jobs.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM jobs ORDER BY number")]


def _count_webhooks(counts: Tally, orders: Sequence[Order], received: Iterable[Received]) -> None:
    told: dict[str, Counter[str]] = {}
    for request in received:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(request.body)
        told.setdefault(body["data"]["job_id"], Counter())[headers["webhook-id"]] += 1
        counts.webhooks_received += 1
    for order in orders:
        if order.job_id is None or "webhook_url" not in order.fields:
            continue
        ids = told.pop(order.job_id, Counter())
        if not ids:
            counts.webhooks_missing.append(f"{order.key} {order.job_id}")
        if len(ids) > 1:
            counts.webhooks_duplicated.append(f"{order.job_id}: {dict(ids)}")
        counts.webhooks_repeated += sum(ids.values()) - len(ids)
    counts.webhooks_duplicated += [f"for a job that nobody ordered: {job_id}" for job_id in told]
