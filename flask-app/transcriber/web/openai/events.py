"""A job's events as OpenAI's stream: `transcript.text.delta` for each segment, `transcript.text.done`, then closed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...domain.errors import TranscriberError
from ...domain.feed import FeedEvent

Json = dict[str, Any]

#: A comment line, so that no proxy takes the connection for dead.
HEARTBEAT = ": still here\n\n"


class Deltas:
    """Cuts a text into deltas that, joined, are the text: white space waits for the word that follows it."""

    def __init__(self) -> None:
        self._space = ""
        self._has_begun = False

    def of(self, text: str) -> str:
        """The next delta; empty where only white space came."""
        whole = self._space + text
        if not self._has_begun:
            whole = whole.lstrip()
        delta = whole.rstrip()
        if not delta:
            self._space = whole
            return ""
        self._space = whole[len(delta) :]
        self._has_begun = True
        return delta


def stream_lines(
    events: Iterable[FeedEvent | None],
    *,
    finish: Callable[[], list[Json]],
    body_of: Callable[[TranscriberError], Json],
    with_logprobs: bool,
) -> Iterator[str]:
    """The stream's lines. `finish` gives the last events, or raises what the job failed with.

    An event that has nothing to send is an empty line.
    """
    deltas = Deltas()
    yield ": connected\n\n"
    for event in events:
        if event is not None and event.is_last:
            try:
                last = finish()
            except TranscriberError as error:
                last = [body_of(error)]
            yield from map(encoded, last)
            return
        if event is None:
            yield HEARTBEAT
        elif event.kind == "segment" and (delta := deltas.of(event.data["text"])):
            logprobs = {"logprobs": event.data.get("logprobs") or []} if with_logprobs else {}
            yield encoded({"type": "transcript.text.delta", "delta": delta, **logprobs})
        else:
            yield ""


def encoded(event: Json) -> str:
    """One event; OpenAI's have no name and no id."""
    return f"data: {json.dumps(event, ensure_ascii=False, allow_nan=False)}\n\n"
