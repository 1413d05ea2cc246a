"""Answers that take a while to compute: on threads of their own, so that everybody else is served meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from flask import Response, current_app, request

from ..domain.transcript import Transcription
from ..domain.work_budget import WorkBudget
from .client_disconnect import LOOK_SECONDS, ClientConnection
from .extensions import application

T = TypeVar("T")


#: What is made of a transcript of this size takes a few milliseconds: it does not wait behind long work.
SMALL_SEGMENTS, SMALL_CHARACTERS = 300, 20_000


def is_small(transcription: Transcription) -> bool:
    """Whether it is worth no thread."""
    return len(transcription.segments) <= SMALL_SEGMENTS and len(transcription.text) <= SMALL_CHARACTERS


def computed(work: Callable[[], T], *, of: Transcription | None = None) -> T:
    """Do this on the computing thread, outside of the request's context, and wait for it; here, if `of` is small."""
    if of is not None and is_small(of):
        return work()
    return application().service.transcripts.compute(work)


def json_answer(build: Callable[[], Any], *, of: Transcription | None = None) -> Response:
    """The JSON of what `build` gives; both are made on the computing thread, or here if `of` is small."""
    dumps = current_app.json.dumps
    text = computed(lambda: dumps(build()), of=of)
    return Response(text + "\n", mimetype="application/json")


@contextmanager
def ended_with_client(budget: WorkBudget) -> Iterator[WorkBudget]:
    """The budget is cancelled when the client leaves while the body of the `with` runs."""
    client, done = ClientConnection(request.environ), threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            if client.is_gone():
                budget.cancel()
                return

    threading.Thread(target=watch, name="client-watch", daemon=True).start()
    try:
        yield budget
    finally:
        done.set()
