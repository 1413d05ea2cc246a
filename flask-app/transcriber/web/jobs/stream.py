"""GET /jobs/{id}/stream: a job's events as they come (Server-Sent Events)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field

from ...domain.errors import InvalidParameterError
from ...domain.feed import FeedEvent
from ...domain.jobs import Job
from ..auth.access import get_job, while_allowed
from ..extensions import application
from ..forms import Whole, parse_query
from ..openapi.operations import EVENTS, LOOKUP_ERRORS, Operation, OperationAnswer
from ..uploads.submissions import last_values

bp = Blueprint("stream", __name__, url_prefix="/jobs")

#: How long an EventSource waits before it connects again, in milliseconds.
RETRY_MS = 2000

_LARGEST = 2**53


class StreamQuery(BaseModel):
    """Where to begin; the header Last-Event-ID, which browsers send by themselves, says it too and wins."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    last_event_id: Whole = Field(
        0, ge=0, le=_LARGEST, description="a whole number from 0: the id of the last event that was seen"
    )


@bp.get("/<job_id>/stream")
@Operation(
    "Follow a job live",
    tag="Jobs",
    query=StreamQuery,
    headers=("Last-Event-ID",),
    answers={
        200: OperationAnswer(
            "Server-Sent Events: `progress`, `segment`, and one `done` or `error` at the end. Each `segment` "
            "has an id; who comes back with the last one misses none and sees none twice.",
            {EVENTS: str},
        ),
        204: OperationAnswer("There is nothing after this id, and nothing will come: do not connect again."),
    },
    raises=(InvalidParameterError, *LOOKUP_ERRORS),
)
def follow(job_id: str) -> Response:
    """A comment line comes when nothing else has for a while; the stream ends early when the service stops."""
    events = open_events(get_job(job_id), last_event_id())
    if events is None:
        return Response(status=204)
    response = Response(iter_lines(while_allowed(events)), content_type=f"{EVENTS}; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the events back
    return response


def open_events(job: Job, after: int) -> Iterator[FeedEvent | None] | None:
    """The job's events after this id; None when it has ended and the caller has seen all of them."""
    events = application().service.follow(job.id, after=after)
    if not job.status.is_final:
        return events
    first = next(events, None)
    return None if first is None else chain([first], events)


def last_event_id() -> int:
    """Where to go on. Raises InvalidParameterError."""
    given = last_values(request.args)
    by_header = request.headers.get("Last-Event-ID")
    if by_header:
        given["last_event_id"] = by_header
    return parse_query(StreamQuery, given).last_event_id


def iter_lines(events: Iterable[FeedEvent | None]) -> Iterator[str]:
    """Events as text; the first line goes out at once, so that the client knows it is connected."""
    yield f"retry: {RETRY_MS}\n\n"
    for event in events:
        yield ": still here\n\n" if event is None else encoded(event)


def encoded(event: FeedEvent) -> str:
    """One event. JSON has no raw newlines, so the data is one line."""
    number = "" if event.number is None else f"id: {event.number}\n"
    data = json.dumps(event.data, ensure_ascii=False, allow_nan=False)
    return f"{number}event: {event.kind}\ndata: {data}\n\n"
