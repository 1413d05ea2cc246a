"""The feeds: what followers of running jobs receive, as it happens. One list a job, however many follow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..domain.answer import segment_to_dict
from ..domain.feed import FeedEvent
from ..domain.transcript import Segment

#: After this long without an event a follower gets a sign of life.
HEARTBEAT_SECONDS = 10.0

#: A follower is served at most this often: many of them on a fast job cost no more than they must.
PACE_SECONDS = 0.1


class JobEvents:
    """The events of one job that has not ended, since it began. Safe to use from any thread."""

    def __init__(self, *, heartbeat: float = HEARTBEAT_SECONDS, pace: float = PACE_SECONDS) -> None:
        self._heartbeat = heartbeat
        self._pace = pace
        self._changed = threading.Condition()
        #: The segment numbered n is at n - 1, in both.
        self._segments: list[Segment] = []
        self._events: list[FeedEvent] = []
        self._progress: FeedEvent | None = None
        self._version = 0
        self._last: FeedEvent | None = None
        self._closed = False

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments so far."""
        with self._changed:
            return tuple(self._segments)

    @property
    def has_begun(self) -> bool:
        """Whether anybody works on the job, or has."""
        with self._changed:
            return self._progress is not None or bool(self._segments)

    @property
    def is_told(self) -> bool:
        """Whether anybody who works on the job has reported its progress."""
        with self._changed:
            return self._progress is not None

    def restore(self, segments: Iterable[Segment]) -> None:
        """Segments of earlier attempts; those that are known already stay."""
        for segment in segments:
            self.add_segment(segment)

    def add_segment(self, segment: Segment) -> None:
        """The next segment. One that was sent already, and was made again, is not sent twice."""
        with self._changed:
            if segment.id != len(self._events):
                return
            self._segments.append(segment)
            self._events.append(segment_event(segment))
            self._changed.notify_all()

    def set_progress(self, data: dict[str, Any]) -> None:
        """How far the job is now; who is slow hears the newest only."""
        with self._changed:
            self._progress = FeedEvent(kind="progress", data=data)
            self._version += 1
            self._changed.notify_all()

    def withdraw_progress(self) -> None:
        """The job waits again: followers see its place in the queue."""
        with self._changed:
            self._progress = None

    def end(self, kind: str, data: dict[str, Any]) -> None:
        """The job has ended: 'done' or 'error'."""
        with self._changed:
            if self._last is None:
                self._last = FeedEvent(kind=kind, data=data, number=len(self._events) + 1)
            self._changed.notify_all()

    def close(self) -> None:
        """Let all followers go without a last event; they come back to the next process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def follow(self, after: int) -> Iterator[FeedEvent | None]:
        """Events numbered above `after` as they come, and None when there is nothing for a while."""
        version = 0
        while True:
            with self._changed:
                if not self._has_news(after, version):
                    self._changed.wait(self._heartbeat)
                events = self._events[max(0, after) :]
                progress = self._progress if self._version > version else None
                version, last, closed = self._version, self._last, self._closed
            yield from events
            after = max(after, events[-1].number or 0) if events else after
            if last is not None:
                yield last
                return
            if closed:
                return
            if progress is not None:
                yield progress
            elif not events:
                yield None
            if self._pace:
                time.sleep(self._pace)

    def _has_news(self, after: int, version: int) -> bool:
        is_over = self._last is not None or self._closed
        return is_over or self._version > version or len(self._events) > max(0, after)


class EventFeeds:
    """The feeds of all jobs that are followed or worked on now."""

    def __init__(self, *, heartbeat: float = HEARTBEAT_SECONDS, pace: float = PACE_SECONDS) -> None:
        self._heartbeat = heartbeat
        self._pace = pace
        self._lock = threading.Lock()
        self._feeds: dict[str, JobEvents] = {}
        self._closed = False

    def open(self, job_id: str) -> JobEvents:
        """The job's feed, made if need be."""
        with self._lock:
            feed = self._feeds.get(job_id)
            if feed is None:
                feed = self._feeds[job_id] = JobEvents(heartbeat=self._heartbeat, pace=self._pace)
                if self._closed:
                    feed.close()
            return feed

    def ids(self) -> frozenset[str]:
        """The jobs that have a feed."""
        with self._lock:
            return frozenset(self._feeds)

    def find(self, job_id: str) -> JobEvents | None:
        """The job's feed, if anybody follows it or works on it."""
        with self._lock:
            return self._feeds.get(job_id)

    def end(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        """Send the job's followers its last event, and forget the feed."""
        with self._lock:
            feed = self._feeds.pop(job_id, None)
        if feed is not None:
            feed.end(kind, data)

    def close(self) -> None:
        """Let all followers go: the service stops."""
        with self._lock:
            self._closed = True
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.close()


def segment_event(segment: Segment) -> FeedEvent:
    """The event of a finished segment, as the answer shows it."""
    # Whether it is suspect shows when its neighbours are known.
    return FeedEvent(
        kind="segment", data=segment_to_dict(replace(segment, suspect=())), number=segment.id + 1
    )


def replayed(segments: Iterable[Segment], after: int, last: FeedEvent) -> Iterator[FeedEvent]:
    """The events of a job that has ended; none for a follower who has seen the last one."""
    for segment in segments:
        if segment.id + 1 > after:
            yield segment_event(segment)
    if last.number is None or last.number > after:
        yield last
