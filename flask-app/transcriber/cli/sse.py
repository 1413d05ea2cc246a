"""Server-Sent Events as GET /jobs/{id}/stream sends them: lines in, events out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ..domain.feed import FeedEvent


def iter_events(lines: Iterable[str]) -> Iterator[FeedEvent | None]:
    """The events of a stream; None for a line that only says that the server is there.

    An event that was cut off before its empty line is dropped: it comes again after a reconnection.
    Raises ValueError when it is no such stream.
    """
    fields: dict[str, str] = {}
    for text in lines:
        if text.startswith(":"):
            yield None
        elif text:
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
        else:
            if "data" in fields:
                yield _event(fields)
            fields = {}


def _event(fields: dict[str, str]) -> FeedEvent:
    data = json.loads(fields["data"])
    if not isinstance(data, dict):
        raise ValueError("an event's data is no object")
    number = int(fields["id"]) if "id" in fields else None
    return FeedEvent(kind=fields.get("event", "message"), data=data, number=number)
