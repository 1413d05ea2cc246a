"""What a resumed job sends to its engine, and hears from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import standin_start
from standin_selftest import report_of
from transcriber.domain.errors import EngineFailedError
from transcriber.domain.events import (
    BatchShrunk,
    EngineEvent,
    Finished,
    FinishedWindow,
    LanguageDetected,
    Planned,
    Resumption,
    SegmentReady,
    WindowDone,
)
from transcriber.domain.options import TranscriptionOptions
from transcriber.domain.transcript import Notice, Segment, TokenLogprob, Word
from transcriber.engine.client import ChildEngine
from transcriber.engine.protocol import (
    MALFORMED,
    EngineConfig,
    JobOrder,
    batch_sizes,
    engine_event,
    event_message,
    selftest_report,
    transcribe_message,
)

PCM = Path("/spool/job.pcm")
OPTIONS = TranscriptionOptions()
MINUTE = 60 * 16_000


@pytest.fixture
def engine() -> Iterator[ChildEngine]:
    engine = standin_start.start()
    yield engine
    engine.close(grace=0)


def segment(number: int, end: float) -> Segment:
    return Segment(
        id=number,
        seek=0,
        start=end - 1.0,
        end=end,
        text=" told",
        tokens=(1,),
        avg_logprob=-0.1,
        compression_ratio=1.0,
        no_speech_prob=0.0,
        words=None,
        temperature=0.0,
    )


def resumption(plan: Planned | None) -> Resumption:
    """Two windows are done, of which the first had two segments."""
    return Resumption(
        language="en",
        language_probability=0.9,
        plan=plan,
        finished=(
            FinishedWindow(index=0, device="cpu", segments=(segment(0, 9.0), segment(1, 29.0))),
            FinishedWindow(index=1, device="cpu", segments=()),
        ),
        history=(7, 8),
    )


def plan_of(windows: int, **changes: Any) -> Planned:
    spans = tuple((index * MINUTE // 2, (index + 1) * MINUTE // 2) for index in range(windows))
    values: dict[str, Any] = {
        "first_index": 0,
        "windows": spans,
        "speech": tuple((span,) for span in spans),
        "faint": (False,) * len(spans),
        "channels": (None,) * len(spans),
        "is_complete": True,
        "duration_after_vad": 30.0 * windows,
        "vad_seconds": 0.5,
    }
    return Planned(**{**values, **changes})


def test_resumed_job_tells_what_is_new_only(engine: ChildEngine) -> None:
    events = list(
        engine.transcribe("j", PCM, 2 * MINUTE, OPTIONS, lane="short", resumption=resumption(plan_of(4)))
    )

    assert [type(event) for event in events] == [*[WindowDone, SegmentReady] * 2, Finished]
    assert [event.index for event in events if isinstance(event, WindowDone)] == [2, 3]


def test_resumed_job_without_a_plan_tells_it_anew(engine: ChildEngine) -> None:
    events = list(engine.transcribe("j", PCM, 2 * MINUTE, OPTIONS, resumption=resumption(None)))

    planned = [event for event in events if isinstance(event, Planned)]
    assert [len(event.windows) for event in planned] == [4]
    assert [event.index for event in events if isinstance(event, WindowDone)] == [2, 3]


def test_resumption_sends_counts_and_the_plan_but_no_text() -> None:
    order = JobOrder(
        pcm=PCM,
        samples=MINUTE,
        pcm_channels=1,
        options=OPTIONS,
        lane="short",
        resumption=resumption(plan_of(2)),
    )

    message = transcribe_message("j", order)

    sent = message["resumption"]
    assert message["lane"] == "short"
    assert (sent["windows"], sent["segments"], sent["last_ends"], sent["history"]) == (
        2,
        2,
        [(None, 29.0)],
        (7, 8),
    )
    assert sent["plan"]["windows"] == plan_of(2).windows
    assert "told" not in json.dumps(message)


@pytest.mark.parametrize(
    "changes", [{"is_complete": False}, {"speech": ()}, {"faint": ()}, {"channels": ()}, {"first_index": 1}]
)
def test_plan_that_does_not_suffice_is_not_sent(changes: dict[str, Any]) -> None:
    given = resumption(plan_of(2, **changes))

    message = transcribe_message(
        "j", JobOrder(pcm=PCM, samples=MINUTE, pcm_channels=1, options=OPTIONS, lane="long", resumption=given)
    )

    assert message["resumption"]["plan"] is None


@pytest.mark.parametrize(
    "event",
    [
        LanguageDetected(language="de", language_probability=0.9, alternatives=(("nl", 0.1),)),
        plan_of(2),
        WindowDone(index=3, device="cuda", history=(1, 2), dropped=4),
        WindowDone(index=3, device="cpu"),
        BatchShrunk(before=8, after=4),
        SegmentReady(segment=segment(0, 2.0)),
        SegmentReady(
            segment=replace(
                segment(1, 4.0),
                words=(Word(start=3.0, end=3.5, word=" told", probability=0.5),),
                logprobs=(TokenLogprob(token="t", bytes=(116,), logprob=-0.5),),
                channel=1,
            )
        ),
        Finished(
            vad_seconds=0.1,
            language_detection_seconds=0.2,
            transcription_seconds=0.3,
            pool_peak_bytes=None,
            notices=(Notice(code="no_speech", message="None.", param="audio"),),
        ),
    ],
    ids=lambda event: type(event).__name__,
)
def test_event_is_the_same_after_the_wire(event: EngineEvent) -> None:
    message = json.loads(json.dumps(event_message("j", event)))

    assert message["job_id"] == "j"
    assert engine_event(message) == event


def test_configuration_is_the_same_after_the_command_line() -> None:
    config = EngineConfig(
        model="base", model_path=Path("/m"), device="cpu", compute_type="int8", libraries=("/a.so",)
    )

    assert EngineConfig.from_json(config.to_json()) == config


def test_history_of_a_conditioned_job_is_told(engine: ChildEngine) -> None:
    options = TranscriptionOptions(condition_on_previous_text=True)

    events = list(engine.transcribe("j", PCM, MINUTE, options))

    assert [event.history for event in events if isinstance(event, WindowDone)] == [(0,), (1,)]


@pytest.mark.parametrize("number", ["avg_logprob", "no_speech_prob", "compression_ratio"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_text_that_rests_on_no_numbers_is_an_error_and_no_text(number: str, value: float) -> None:
    message = {"type": "segment", "segment": {**asdict(segment(0, 2.0)), number: value}}

    with pytest.raises(EngineFailedError) as caught:
        engine_event(message)

    assert caught.value.code == "numbers_not_finite"
    assert caught.value.fix


def test_language_without_a_probability_is_an_error() -> None:
    message = {"type": "language", "language": "en", "language_probability": float("nan")}

    with pytest.raises(EngineFailedError):
        engine_event(message)


def test_sizes_of_batches_are_numbers_or_nothing() -> None:
    assert batch_sizes({"type": "batch_ended", "batch": 1, "sizes": [4, 2]}) == (4, 2)
    assert batch_sizes({"type": "batch_ended", "batch": 1, "sizes": "many"}) == ()
    assert batch_sizes({"type": "batch_ended", "batch": 1}) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"run_seconds": float("nan")},
        {"run_seconds": float("inf")},
        {"run_seconds": -1.0},
        {"seconds": float("inf")},
        {"seconds": 1e300},
        {"cold_seconds": "soon"},
        {"steps": None},
        {"steps": [None]},
        {"steps": [{"name": "computed"}]},
    ],
)
def test_report_without_sense_is_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(MALFORMED):
        selftest_report(report_of("pass", "cuda", "float16") | change)


def test_numbers_that_json_does_not_know_are_none() -> None:
    fields = report_of("pass", "cuda", "float16")
    fields["steps"][2]["numbers"] = {"std": float("nan"), "passes": [0.1, float("inf")], "words": "all"}

    report = selftest_report(fields)

    assert report.steps[2].numbers == {"std": None, "passes": [0.1, None], "words": "all"}
