"""Following jobs: their events live or replayed, and a job's current state."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..domain.errors import JobCancelledError, JobNotFinishedError
from ..domain.errors.stored import restored
from ..domain.feed import FeedEvent
from ..domain.jobs import Delivery, Job, JobProgress, JobStatus, QueuePlace
from ..domain.transcript import DeviceFacts, Segment, Transcription
from ..jobs.active_job import progress_data
from ..jobs.estimates import Estimates
from ..jobs.events import EventFeeds, JobEvents, replayed
from ..jobs.files import journal
from .completion import Storage, done_data, failure_data
from .execution import JobExecution
from .url_import import UrlImports


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A job as it stands: progress while it runs or its file is fetched, its place while it waits, and its segments until it has ended.

    The segments of a job that succeeded are in its transcription.
    """

    job: Job
    progress: JobProgress | None
    place: QueuePlace | None
    segments: tuple[Segment, ...]
    deliveries: tuple[Delivery, ...]


class JobQueries:
    """Reads jobs for viewers. Safe to call from any thread."""

    def __init__(
        self,
        storage: Storage,
        feeds: EventFeeds,
        running: JobExecution,
        imports: UrlImports,
        estimates: Estimates,
    ) -> None:
        self._node = storage.node
        self._storage = storage
        self._feeds = feeds
        self._execution = running
        self._imports = imports
        self._estimates = estimates

    def view(self, job_id: str) -> JobView:
        """The job's state now. Raises JobNotFoundError."""
        job = self._storage.jobs.get(job_id)
        return JobView(
            job=job,
            progress=self._progress(job),
            place=self._estimates.place(job_id) if job.status is JobStatus.QUEUED else None,
            segments=() if job.status.is_final else self._segments(job),
            deliveries=tuple(self._storage.outbox.of_job(job_id)) if job.webhook else (),
        )

    def _progress(self, job: Job) -> JobProgress | None:
        """How far its work is, or the file that it waits for."""
        if job.status is JobStatus.QUEUED:
            return self._imports.progress_of(job.id)
        if job.status.is_final:
            return None
        here = self._execution.progress_of(job.id)
        if here is None and self._node is not None:
            return self._node.progress(job.id)
        return here.now() if here else None

    def transcription(self, job_id: str) -> Transcription:
        """A finished job's answer. Raises JobNotFoundError, JobNotFinishedError, or the job's error."""
        job = self._storage.jobs.get(job_id)
        if job.error is not None:
            raise restored(job.error)
        if job.status is JobStatus.CANCELLED:
            raise JobCancelledError()
        # A result without its row's word may belong to an attempt that was cut off.
        found = self._find_result(job_id) if job.status is JobStatus.SUCCEEDED else None
        if found is None:
            raise JobNotFinishedError(
                f"Job {job_id} is {job.status.value}.", fix="Ask again when it has succeeded."
            )
        return found

    def devices(self, job_ids: Collection[str]) -> dict[str, DeviceFacts]:
        """Where these jobs ran, in one query; jobs of which nothing is known are left out."""
        return self._storage.run(self._storage.results.find_devices, job_ids)

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[FeedEvent | None]:
        """See JobService.follow. Raises JobNotFoundError at once, not with the first event."""
        job = self._storage.jobs.get(job_id)
        if job.status.is_final:
            return self._replay(job, after)
        feed = self._feeds.open(job_id)
        # Once more: it may have ended before there was a feed to say so.
        job = self._storage.jobs.get(job_id)
        if job.status.is_final:
            self._feeds.end(job_id, *self.last(job))
            return self._replay(job, after)
        if not feed.has_begun:
            feed.restore(self._journaled(job))
        if self._node is not None and (there := self._node.progress(job_id)) is not None:
            feed.set_progress(progress_data(JobStatus.RUNNING, there, None))
        return self._live(job_id, feed, after)

    def _live(self, job_id: str, feed: JobEvents, after: int) -> Iterator[FeedEvent | None]:
        """The feed, and while the job waits, its place in the queue."""
        shown = None
        if not feed.is_told:
            shown = self._estimates.place(job_id)
            yield _waiting_event(shown)
        for event in feed.follow(after):
            if event is None and not feed.is_told:
                place = self._estimates.place(job_id)
                if place != shown:
                    shown = place
                    yield _waiting_event(place)
                    continue
            yield event

    def _replay(self, job: Job, after: int) -> Iterator[FeedEvent]:
        result = self._find_result(job.id) if job.status is JobStatus.SUCCEEDED else None
        segments = result.segments if result else ()
        kind, data = self.last(job)
        last = FeedEvent(kind=kind, data=data, number=len(segments) + 1)
        return replayed(segments, after, last)

    def last(self, job: Job) -> tuple[str, dict[str, object]]:
        """The last event of a job that has ended."""
        result = self._find_result(job.id) if job.status is JobStatus.SUCCEEDED else None
        if result is not None:
            return "done", done_data(job, result)
        return "error", failure_data(job.id, job.status, job.error)

    def _segments(self, job: Job) -> tuple[Segment, ...]:
        feed = self._feeds.find(job.id)
        return feed.segments if feed is not None and feed.has_begun else self._journaled(job)

    def _journaled(self, job: Job) -> tuple[Segment, ...]:
        """What earlier attempts came to."""
        if job.attempts == 0:
            return ()
        if self._node is not None:
            return self._node.journaled(job.id).segments
        path = self._storage.spool.journal_path(job.id)
        return self._storage.run(journal.read, path).segments

    def _find_result(self, job_id: str) -> Transcription | None:
        return self._storage.run(self._storage.results.find, job_id)


def _waiting_event(place: QueuePlace | None) -> FeedEvent:
    return FeedEvent(kind="progress", data=progress_data(JobStatus.QUEUED, None, place))
