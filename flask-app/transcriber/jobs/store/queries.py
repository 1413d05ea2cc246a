"""Every statement of the job store and its outbox, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Select,
    Update,
    case,
    delete,
    func,
    insert,
    select,
    union,
    update,
)

from ...domain.jobs import Delivery, DeliveryStatus, JobError, JobStatus
from .rows import error_column, from_delivery
from .schema import api_keys, deliveries, edits, jobs

_FINAL = [status.value for status in JobStatus if status.is_final]

# Jobs


def insert_job(row: Mapping[str, Any]) -> Insert:
    """A new row; its number comes from the database."""
    return insert(jobs).values(**row)


def select_job(job_id: str) -> Select[Any]:
    """One job."""
    return select(jobs).where(jobs.c.id == job_id)


def select_job_by_key(idempotency_key: str) -> Select[Any]:
    """The job that has this key."""
    return select(jobs).where(jobs.c.idempotency_key == idempotency_key)


def select_jobs(
    statuses: Collection[JobStatus], limit: int, before: int | None = None, owner: str | None = None
) -> Select[Any]:
    """The newest jobs first, of those numbered below `before`; all statuses when none is given, all owners too."""
    wanted = [*_has_status(statuses), *_has_owner(owner)]
    return _newest(select(jobs), jobs.c.number, limit, before).where(*wanted)


def search_jobs(
    statuses: Collection[JobStatus],
    limit: int,
    before: int | None,
    search: str,
    worded: Select[Any] | None,
    owner: str | None = None,
) -> Select[Any]:
    """The newest of those that have the text in their name, or whose number `worded` selects as `number`.

    Names and transcripts each give their newest, so that neither is read further than the page needs.
    """
    named = _newest(select(jobs.c.number), jobs.c.number, limit, before)
    numbers = [named.where(_has_name(search), *_has_status(statuses), *_has_owner(owner))]
    # Only jobs that succeeded have a text.
    if worded is not None and (not statuses or JobStatus.SUCCEEDED in statuses):
        number = worded.selected_columns[0]
        worded = _newest(worded, number, limit, before)
        if owner is not None:
            worded = worded.where(number.in_(select(jobs.c.number).where(*_has_owner(owner))))
        numbers.append(worded)
    found = union(*(select(one.subquery().c.number) for one in numbers)).subquery()
    return _newest(select(jobs).where(jobs.c.number.in_(select(found.c.number))), jobs.c.number, limit)


def rename_job(job_id: str, title: str) -> Update:
    """The job under another name; gives the row back."""
    return update(jobs).where(jobs.c.id == job_id).values(title=title).returning(jobs)


def select_ended_jobs(
    moment: datetime, limit: int, *, status: JobStatus | None, has_upload: bool | None
) -> Select[Any]:
    """Jobs that ended before a moment, oldest first."""
    # Only jobs that have ended have a time of completion.
    query = select(jobs).where(jobs.c.completed_at < moment)
    if status is not None:
        query = query.where(jobs.c.status == status.value)
    if has_upload is not None:
        query = query.where(jobs.c.has_upload == has_upload)
    return query.order_by(jobs.c.completed_at, jobs.c.number).limit(limit)


def select_job_ids(statuses: Collection[JobStatus], has_upload: bool | None) -> Select[Any]:
    """The ids of jobs of a kind; all when no kind is given."""
    query = select(jobs.c.id)
    if statuses:
        query = query.where(jobs.c.status.in_(_values(statuses)))
    return query if has_upload is None else query.where(jobs.c.has_upload == has_upload)


def count_jobs(owner: str | None = None) -> Select[Any]:
    """How many jobs have each status."""
    query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
    return query if owner is None else query.where(jobs.c.owner == owner)


def claim_job(job_id: str, now: datetime) -> Update:
    """queued → running, one attempt more; gives the row back, or nothing."""
    return (
        _of_status(job_id, JobStatus.QUEUED)
        .values(status=JobStatus.RUNNING.value, attempts=jobs.c.attempts + 1, started_at=now)
        .returning(jobs)
    )


def finish_job(job_id: str, attempt: int, status: JobStatus, now: datetime, error: JobError | None) -> Update:
    """running → a final status, for the attempt that owns the job."""
    return _of_attempt(job_id, attempt).values(
        status=status.value, completed_at=now, error=error_column(error)
    )


def requeue_job(job_id: str, attempt: int) -> Update:
    """running → queued, for the attempt that owns the job."""
    return _of_attempt(job_id, attempt).values(status=JobStatus.QUEUED.value, started_at=None)


def cancel_queued_job(job_id: str, now: datetime) -> Update:
    """queued → cancelled."""
    return _of_status(job_id, JobStatus.QUEUED).values(status=JobStatus.CANCELLED.value, completed_at=now)


def retry_job(job_id: str) -> Update:
    """failed → queued, as if it had never run but for its attempts, and with nobody on a connection for it; gives
    the row back, or nothing."""
    return (
        _of_status(job_id, JobStatus.FAILED)
        .where(jobs.c.has_upload)
        .values(
            status=JobStatus.QUEUED.value,
            started_at=None,
            completed_at=None,
            error=None,
            engine_faults=0,
            engine_kills=0,
            is_awaited=False,
        )
        .returning(jobs)
    )


def note_job(job_id: str, attempt: int, known: Mapping[str, Any]) -> Update:
    """Columns of a running job, for the attempt that owns it."""
    # The attempt is written as it is, so that the statement is whole when there is nothing to keep.
    return _of_attempt(job_id, attempt).values(attempts=attempt, **known)


def note_upload_removed(job_id: str, attempt: int | None) -> Update:
    """Note that the job's upload is gone, if the job has ended (with this attempt)."""
    return update(jobs).where(*_has_ended(job_id, attempt), jobs.c.has_upload).values(has_upload=False)


def delete_ended_job(job_id: str, attempt: int | None) -> Delete:
    """The job, if it has ended (with this attempt)."""
    return delete(jobs).where(*_has_ended(job_id, attempt))


def _has_ended(job_id: str, attempt: int | None) -> list[ColumnElement[bool]]:
    conditions = [jobs.c.id == job_id, jobs.c.status.in_(_FINAL)]
    return conditions if attempt is None else [*conditions, jobs.c.attempts == attempt]


def _of_attempt(job_id: str, attempt: int) -> Update:
    return _of_status(job_id, JobStatus.RUNNING).where(jobs.c.attempts == attempt)


def _of_status(job_id: str, status: JobStatus) -> Update:
    return update(jobs).where(jobs.c.id == job_id, jobs.c.status == status.value)


def _values(statuses: Collection[JobStatus]) -> list[str]:
    return [status.value for status in statuses]


def _has_owner(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [jobs.c.owner == owner]


def _has_name(search: str) -> ColumnElement[bool]:
    name = case((jobs.c.title != "", jobs.c.title), else_=jobs.c.file_name)
    return name.icontains(search, autoescape=True)


def _has_status(statuses: Collection[JobStatus]) -> list[ColumnElement[bool]]:
    return [jobs.c.status.in_(_values(statuses))] if statuses else []


def _newest(
    query: Select[Any], number: ColumnElement[int], limit: int, before: int | None = None
) -> Select[Any]:
    query = query.order_by(number.desc()).limit(limit)
    return query if before is None else query.where(number < before)


# Transcripts


def select_edit(job_id: str) -> Select[Any]:
    """The present revision of a transcript that was edited."""
    return select(edits).where(edits.c.job_id == job_id)


def insert_edit(values: Mapping[str, Any]) -> Insert:
    """The first revision."""
    return insert(edits).values(**values)


def update_edit(values: Mapping[str, Any]) -> Update:
    """The next revision, if this is the one before it."""
    before = values["revision"] - 1
    return (
        update(edits).where(edits.c.job_id == values["job_id"], edits.c.revision == before).values(**values)
    )


def delete_edit(job_id: str) -> Delete:
    """All that was edited of a job's transcript."""
    return delete(edits).where(edits.c.job_id == job_id)


def select_number(job_id: str) -> Select[Any]:
    """The number of a job."""
    return select(jobs.c.number).where(jobs.c.id == job_id)


def select_succeeded_number(job_id: str) -> Select[Any]:
    """The number of a job that has a transcript; nobody else changes its row until the transaction ends."""
    return (
        select(jobs.c.number)
        .where(jobs.c.id == job_id, jobs.c.status == JobStatus.SUCCEEDED.value)
        .with_for_update()
    )


# Keys


def insert_key(values: Mapping[str, Any]) -> Insert:
    """A new key."""
    return insert(api_keys).values(**values)


def select_keys() -> Select[Any]:
    """All keys, oldest first."""
    return select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)


def revoke_key(name: str, now: datetime) -> Update:
    """The key of this name that is not revoked; gives the row back, or nothing."""
    return (
        update(api_keys)
        .where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(api_keys)
    )


def note_key_used(key_id: str, now: datetime) -> Update:
    """When the key was last used."""
    return update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=now)


# Deliveries


def insert_delivery(delivery: Delivery) -> Insert:
    """A new message."""
    return insert(deliveries).values(**from_delivery(delivery))


def select_due_deliveries(now: datetime, limit: int) -> Select[Any]:
    """Pending messages whose time has come, those that have waited longest first."""
    return (
        _pending()
        .where(deliveries.c.next_try_at <= now)
        .order_by(deliveries.c.next_try_at, deliveries.c.number)
        .limit(limit)
    )


def select_next_delivery() -> Select[Any]:
    """The pending message that is due first."""
    return _pending().order_by(deliveries.c.next_try_at, deliveries.c.number).limit(1)


def select_deliveries(job_id: str) -> Select[Any]:
    """The messages of a job, oldest first."""
    return select(deliveries).where(deliveries.c.job_id == job_id).order_by(deliveries.c.number)


def update_delivery(delivery: Delivery) -> Update:
    """What one try came to, while the message is pending: an outcome is final."""
    return (
        update(deliveries)
        .where(deliveries.c.id == delivery.id, deliveries.c.status == DeliveryStatus.PENDING.value)
        .values(
            status=delivery.status.value,
            tries=delivery.tries,
            next_try_at=delivery.next_try_at,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
            delivered_at=delivery.delivered_at,
        )
    )


def delete_deliveries(job_id: str) -> Delete:
    """All messages of a job."""
    return delete(deliveries).where(deliveries.c.job_id == job_id)


def _pending() -> Select[Any]:
    return select(deliveries).where(deliveries.c.status == DeliveryStatus.PENDING.value)
