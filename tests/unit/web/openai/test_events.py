"""The stream's events: deltas that join to the text, one last event, and an error in their place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from transcriber.domain.errors import EngineFailedError
from transcriber.domain.feed import FeedEvent
from transcriber.web.openai.events import Deltas, stream_lines

DONE = FeedEvent(kind="done", data={}, number=9)


def segment(text: str, **data: Any) -> FeedEvent:
    return FeedEvent(kind="segment", data={"text": text, **data}, number=1)


def lines(
    events: Iterable[FeedEvent | None], finish: Any = lambda: [{"type": "end"}], **changes: Any
) -> list[str]:
    options: dict[str, Any] = {
        "finish": finish,
        "body_of": lambda error: {"error": {"code": error.code}},
        "with_logprobs": False,
    }
    return list(stream_lines(events, **(options | changes)))


def data_of(found: list[str]) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in found if line.startswith("data: ")]


@given(st.lists(st.text(alphabet=" \nab", max_size=6), max_size=6))
def test_deltas_joined_are_the_text(texts: list[str]) -> None:
    deltas = Deltas()

    assert "".join(deltas.of(text) for text in texts) == "".join(texts).strip()


def test_segments_come_as_deltas_and_the_last_event_ends_the_stream() -> None:
    found = data_of(lines([segment(" Hello"), None, segment(" world."), DONE, segment("never")]))

    assert found == [
        {"type": "transcript.text.delta", "delta": "Hello"},
        {"type": "transcript.text.delta", "delta": " world."},
        {"type": "end"},
    ]


def test_logprobs_come_with_their_delta() -> None:
    logprob = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1}

    found = data_of(lines([segment("Hi", logprobs=[logprob]), DONE], with_logprobs=True))

    assert found[0]["logprobs"] == [logprob]


def test_failed_job_is_an_error_event() -> None:
    def fail() -> Any:
        raise EngineFailedError("no")

    assert data_of(lines([DONE], fail)) == [{"error": {"code": "engine_failed"}}]


def test_event_that_has_nothing_to_send_is_an_empty_line() -> None:
    assert lines([FeedEvent(kind="progress", data={}, number=1), segment("  "), DONE])[1:3] == ["", ""]


def test_silence_is_filled_with_comments() -> None:
    assert lines([None, DONE])[1].startswith(": ")
