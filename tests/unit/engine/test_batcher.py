"""The batcher: messages in order, and a failure costs no more than it must."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_driver import write_pcm
from transcriber.domain.options import TranscriptionOptions
from transcriber.domain.transcript import Segment
from transcriber.engine.arrays import Features, Samples
from transcriber.engine.batcher import Batcher, Cancelled, Submitted
from transcriber.engine.decoding import DecodedWindow, Row
from transcriber.engine.faults import FaultError
from transcriber.engine.job import JobSpec
from transcriber.engine.windows import rest_of

SECOND = 16_000


class FakeModel:
    """A multilingual model's facts; a token for each letter."""

    is_multilingual = True
    sot_length = 3
    sot_prev = 999

    def knows_language(self, language: str) -> bool:
        return language in ("en", "de")

    def encode_text(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def log_mel(self, samples: Samples) -> Features:
        return np.zeros((1, 1), np.float32)


class FakeVad:
    """Hears speech everywhere."""

    def run(self, output_names: None, inputs: dict[str, Samples]) -> list[Samples]:
        return [np.ones(len(inputs["input"]), np.float32), inputs["h"], inputs["c"]]


class Desk:
    """A batcher on its own thread, with a decoder that the test gives, and the messages it sent."""

    def __init__(self, decode: Callable[[Sequence[Row]], list[DecodedWindow]], batch_size: int = 4) -> None:
        self.messages: list[dict[str, Any]] = []
        self.fault: FaultError | None = None
        self._changed = threading.Condition()
        self.batcher = Batcher(
            model=FakeModel(),
            decode=decode,
            vad=FakeVad(),
            driver=None,
            batch_size=batch_size,
            send=self._send,
        )
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, job_id: str, pcm: Path, **options: Any) -> None:
        spec = JobSpec(
            job_id=job_id,
            pcm_path=pcm,
            samples=pcm.stat().st_size // 2 if pcm.exists() else SECOND,
            options=TranscriptionOptions(**options),
        )
        self.batcher.post(Submitted(spec=spec))

    def messages_of(self, job_id: str) -> list[dict[str, Any]]:
        ends = ("done", "error", "cancelled")
        with self._changed:
            ended = self._changed.wait_for(
                lambda: any(m["job_id"] == job_id and m["type"] in ends for m in self.messages), 20
            )
            assert ended, "the job did not end in time"
            return [message for message in self.messages if message["job_id"] == job_id]

    def wait_for_fault(self) -> FaultError:
        with self._changed:
            assert self._changed.wait_for(lambda: self.fault is not None, 20)
        assert self.fault is not None
        return self.fault

    def _run(self) -> None:
        try:
            self.batcher.run()
        except FaultError as error:
            with self._changed:
                self.fault = error
                self._changed.notify_all()

    def _send(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()


def segment_of(row: Row) -> Segment:
    return Segment(
        id=0,
        seek=0,
        start=row.window.start / SECOND,
        end=row.window.end / SECOND,
        text=f" {row.window.index}.{row.window.part}",
        tokens=(1, 2),
        avg_logprob=-0.1,
        compression_ratio=1.0,
        no_speech_prob=0.0,
        words=None,
        temperature=0.0,
    )


def decoded(row: Row, **changes: Any) -> DecodedWindow:
    values: dict[str, Any] = {
        "device": "cpu",
        "language": row.language or "de",
        "language_probability": 0.75,
        "detection_seconds": 0.0,
        "segments": (segment_of(row),),
        "text_tokens": (1, 2),
    }
    return DecodedWindow(**{**values, **changes})


def decode_all(rows: Sequence[Row]) -> list[DecodedWindow]:
    return [decoded(row) for row in rows]


def wait_for_front_end(job_id: str) -> None:
    """Until all of the job's windows wait."""
    for thread in threading.enumerate():
        if thread.name == f"front-end-{job_id}":
            thread.join(20)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Five windows of sound."""
    return write_pcm(tmp_path / "long.pcm", np.random.default_rng(0).normal(0, 0.1, 140 * SECOND))


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return write_pcm(tmp_path / "short.pcm", np.random.default_rng(1).normal(0, 0.1, 3 * SECOND))


def test_messages_come_in_the_order_of_the_protocol(long: Path) -> None:
    desk = Desk(decode_all)

    desk.submit("a", long)
    messages = desk.messages_of("a")

    assert [m["type"] for m in messages] == ["language", "plan", *["window", "segment"] * 5, "done"]
    assert [m["index"] for m in messages if m["type"] == "window"] == list(range(5))
    assert [m["segment"]["id"] for m in messages if m["type"] == "segment"] == list(range(5))
    assert messages[0] == {"type": "language", "job_id": "a", "language": "de", "language_probability": 0.75}


def test_one_window_tells_the_language_and_the_others_follow(long: Path) -> None:
    batches: list[list[tuple[int, str | None]]] = []

    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        batches.append([(row.window.index, row.language) for row in rows])
        return decode_all(rows)

    desk = Desk(decode)
    desk.submit("a", long)
    desk.messages_of("a")

    assert batches[0] == [(0, None)]
    assert all(language == "de" for batch in batches[1:] for _, language in batch)
    assert sorted(index for batch in batches for index, _ in batch) == list(range(5))


def test_the_rest_of_a_window_is_decoded_before_it_counts(long: Path) -> None:
    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        return [
            decoded(
                row, rest=rest_of(row.window, 10 * SECOND, closed=False) if row.window.part == 0 else None
            )
            for row in rows
        ]

    desk = Desk(decode)
    desk.submit("a", long, language="en")
    messages = desk.messages_of("a")

    assert [m["index"] for m in messages if m["type"] == "window"] == list(range(5))
    texts = [m["segment"]["text"] for m in messages if m["type"] == "segment"]
    assert texts == [f" {index}.{part}" for index in range(5) for part in (0, 1)]
    starts = [m["segment"]["start"] for m in messages if m["type"] == "segment"]
    assert starts == sorted(starts)


def test_a_window_is_the_gpus_only_if_all_its_parts_are(long: Path) -> None:
    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        return [
            decoded(
                row,
                device="cuda" if row.window.part == 0 else "cpu",
                rest=rest_of(row.window, SECOND, closed=False)
                if row.window.index + row.window.part == 0
                else None,
            )
            for row in rows
        ]

    desk = Desk(decode)
    desk.submit("a", long, language="en")

    devices = [m["device"] for m in desk.messages_of("a") if m["type"] == "window"]
    assert devices == ["cpu", "cuda", "cuda", "cuda", "cuda"]


def test_too_little_memory_halves_the_batch(long: Path) -> None:
    sizes: list[int] = []

    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        wait_for_front_end("a")
        sizes.append(len(rows))
        if len(rows) > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        return decode_all(rows)

    desk = Desk(decode)
    desk.submit("a", long, language="en")
    messages = desk.messages_of("a")

    assert messages[-1]["type"] == "done"
    assert sum(1 for m in messages if m["type"] == "window") == 5
    assert max(sizes) > 1
    assert sizes.count(1) == 5


def test_a_window_that_always_fails_costs_its_own_job_only(long: Path, short: Path) -> None:
    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        if any(row.options.initial_prompt == "bad" for row in rows):
            raise RuntimeError("CUDA failed with error out of memory")
        return decode_all(rows)

    desk = Desk(decode)
    desk.submit("good", long, language="en", initial_prompt="abc")
    desk.submit("bad", short, language="en", initial_prompt="bad")

    assert desk.messages_of("bad")[-1]["code"] == "out_of_memory"
    assert desk.messages_of("good")[-1]["type"] == "done"


def test_a_lost_device_ends_the_engine_without_an_answer(short: Path) -> None:
    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        raise RuntimeError("CUDA failed with error an illegal memory access was encountered")

    desk = Desk(decode)
    desk.submit("a", short, language="en")

    assert desk.wait_for_fault().fault.code == "cuda_error"
    assert [m for m in desk.messages if m["type"] in ("error", "done")] == []


def test_a_cancelled_job_ends_and_is_not_decoded_further(long: Path, short: Path) -> None:
    started, resume = threading.Event(), threading.Event()
    decoded_jobs: list[str | None] = []

    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        decoded_jobs.extend(row.options.hotwords for row in rows)
        started.set()
        assert resume.wait(20)
        return decode_all(rows)

    desk = Desk(decode, batch_size=1)
    desk.submit("a", long, language="en", hotwords="a")
    assert started.wait(20)
    desk.batcher.post(Cancelled(job_id="a"))
    desk.batcher.post(Cancelled(job_id="unknown"))
    resume.set()
    desk.submit("b", short, language="en", hotwords="b")

    assert desk.messages_of("a")[-1]["type"] == "cancelled"
    assert desk.messages_of("b")[-1]["type"] == "done"
    assert decoded_jobs.count("a") <= 2


def test_each_window_gets_the_text_before_it_when_asked(long: Path) -> None:
    prompts: list[tuple[int, ...]] = []

    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        prompts.extend(row.previous for row in rows)
        return decode_all(rows)

    desk = Desk(decode)
    desk.submit("a", long, language="en", initial_prompt="A", condition_on_previous_text=True)
    desk.messages_of("a")

    assert prompts == [(999, 65, *[1, 2] * count) for count in range(5)]


def test_wild_text_is_no_prompt(long: Path) -> None:
    prompts: list[tuple[int, ...]] = []

    def decode(rows: Sequence[Row]) -> list[DecodedWindow]:
        prompts.extend(row.previous for row in rows)
        return [decoded(row, temperature=0.6) for row in rows]

    desk = Desk(decode)
    desk.submit("a", long, language="en", initial_prompt="A", condition_on_previous_text=True)
    desk.messages_of("a")

    assert prompts == [(999, 65), (), (), (), ()]


def test_a_prompt_without_room_is_named(short: Path) -> None:
    desk = Desk(decode_all)

    desk.submit("a", short, language="en", initial_prompt="x" * 300, hotwords="y" * 300)

    notices = desk.messages_of("a")[-1]["notices"]
    assert {(n["code"], n["param"]) for n in notices} == {
        ("prompt_truncated", "initial_prompt"),
        ("prompt_truncated", "hotwords"),
    }


def test_a_language_the_model_lacks_is_refused(short: Path) -> None:
    desk = Desk(decode_all)

    desk.submit("a", short, language="tlh")

    assert desk.messages_of("a") == [
        {
            "type": "error",
            "job_id": "a",
            "code": "language_not_supported",
            "message": "This model does not know the language 'tlh'.",
            "fix": desk.messages_of("a")[0]["fix"],
        }
    ]


def test_audio_that_is_not_there_fails_its_job(tmp_path: Path, short: Path) -> None:
    desk = Desk(decode_all)

    desk.submit("gone", tmp_path / "gone.pcm", language="en")
    desk.submit("next", short, language="en")

    assert desk.messages_of("gone")[-1]["code"] == "engine_failed"
    assert desk.messages_of("next")[-1]["type"] == "done"
