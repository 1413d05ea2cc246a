"""The scheduler: messages in order, and a failure costs no more than it must."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_driver import write_pcm
from transcriber.domain.options import TranscriptionOptions
from transcriber.domain.selftest import SelfTestReport, Step
from transcriber.domain.transcript import Segment
from transcriber.engine.child.arrays import Features, Samples
from transcriber.engine.child.batching import LanePlan
from transcriber.engine.child.decoding.prompts import remember
from transcriber.engine.child.decoding.rows import DecodedWindow, DecodingRow
from transcriber.engine.child.event_sequencer import PlanTotals, Sequenced
from transcriber.engine.child.faults import FaultError
from transcriber.engine.child.job import JobSpec, Resumed
from transcriber.engine.child.lane import LaneWork
from transcriber.engine.child.scheduler import Cancelled, Scheduler, SelfTestOrdered, Submitted
from transcriber.engine.child.windows import SpeechChunk, Window

SECOND = 16_000


class FakeModel:
    """A multilingual model's facts; a token for each letter."""

    is_multilingual = True
    alone_is_alike = True
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


def passing() -> SelfTestReport:
    steps = (Step(name="computed", outcome="passed"),)
    return SelfTestReport(device="cpu", compute_type="int8_float32", steps=steps, seconds=0.1)


class SchedulerBench:
    """A scheduler on its own thread, with a decoder that the test gives, and the messages it sent."""

    def __init__(
        self,
        decode: Callable[[Sequence[DecodingRow]], list[DecodedWindow]],
        batch_size: int = 4,
        *,
        model: FakeModel | None = None,
        lanes: LanePlan | None = None,
        vad: FakeVad | None = None,
        selftest: Callable[[], SelfTestReport] = passing,
    ) -> None:
        self.messages: list[dict[str, Any]] = []
        self.fault: FaultError | None = None
        self._changed = threading.Condition()
        self.scheduler = Scheduler(
            model=model or FakeModel(),
            work=LaneWork(decode=decode, selftest=selftest),
            vad=vad or FakeVad(),
            driver=None,
            batch_size=batch_size,
            lanes=lanes or LanePlan(),
            send=self._send,
        )
        threading.Thread(target=self._run, daemon=True).start()

    def submit(
        self, job_id: str, pcm: Path, *, lane: str = "long", resumed: Resumed | None = None, **options: Any
    ) -> None:
        spec = JobSpec(
            job_id=job_id,
            pcm_path=pcm,
            samples=pcm.stat().st_size // 2 if pcm.exists() else SECOND,
            options=TranscriptionOptions(**options),
            lane=lane,
            resumed=resumed,
        )
        self.scheduler.post(Submitted(spec=spec))

    def messages_of(self, job_id: str) -> list[dict[str, Any]]:
        ends = ("done", "error", "cancelled")
        with self._changed:
            ended = self._changed.wait_for(
                lambda: any(m.get("job_id") == job_id and m["type"] in ends for m in self.messages), 20
            )
            assert ended, "the job did not end in time"
            return [message for message in self.messages if message.get("job_id") == job_id]

    def wait_for(self, kind: str) -> None:
        """Until a message of this kind was sent."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(m["type"] == kind for m in self.messages), 20)

    def wait_for_count(self, kind: str, count: int) -> None:
        """Until so many messages of this kind were sent."""
        with self._changed:
            assert self._changed.wait_for(lambda: sum(m["type"] == kind for m in self.messages) >= count, 20)

    def wait_for_fault(self) -> FaultError:
        with self._changed:
            assert self._changed.wait_for(lambda: self.fault is not None, 20)
        assert self.fault is not None
        return self.fault

    def _run(self) -> None:
        try:
            self.scheduler.run()
        except FaultError as error:
            with self._changed:
                self.fault = error
                self._changed.notify_all()

    def _send(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.messages.append(json.loads(json.dumps(message)))
            self._changed.notify_all()


def segment_of(row: DecodingRow) -> Segment:
    return Segment(
        id=0,
        seek=0,
        start=row.window.start / SECOND,
        end=row.window.end / SECOND,
        text=f" {row.window.index}",
        tokens=(1, 2),
        avg_logprob=-0.1,
        compression_ratio=1.0,
        no_speech_prob=0.0,
        words=None,
        temperature=0.0,
    )


def decoded(
    row: DecodingRow, *, written: tuple[int, ...] = (1, 2), temperature: float = 0.0, **changes: Any
) -> DecodedWindow:
    is_conditioned = row.options.condition_on_previous_text
    values: dict[str, Any] = {
        "device": "cpu",
        "language": row.language or "de",
        "language_probability": 0.75,
        "detection_seconds": 0.0,
        "segments": (segment_of(row),),
        "history": remember(row.history, written, temperature) if is_conditioned else None,
    }
    return DecodedWindow(**{**values, **changes})


def decode_all(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
    return [decoded(row) for row in rows]


def _loud(folder: Path, seconds: int) -> Path:
    return write_pcm(folder / "loud.pcm", np.random.default_rng(0).normal(0, 0.1, seconds * SECOND))


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Five windows of sound; they go in groups of 1, 2 and 2."""
    return write_pcm(tmp_path / "long.pcm", np.random.default_rng(0).normal(0, 0.1, 140 * SECOND))


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return write_pcm(tmp_path / "short.pcm", np.random.default_rng(1).normal(0, 0.1, 3 * SECOND))


def test_messages_come_in_the_order_of_the_protocol(long: Path) -> None:
    bench = SchedulerBench(decode_all)

    bench.submit("a", long)
    messages = bench.messages_of("a")

    # How many plans it takes to tell all windows depends on how fast VAD was; the rest has one order.
    told = [m["type"] for m in messages if m["type"] != "plan"]
    plans = [m for m in messages if m["type"] == "plan"]
    assert told == ["language", *["window", "segment"] * 5, "done"]
    assert (len(sum((m["windows"] for m in plans), [])), [m["is_complete"] for m in plans][-1]) == (5, True)
    assert [m["index"] for m in messages if m["type"] == "window"] == list(range(5))
    assert [m["segment"]["id"] for m in messages if m["type"] == "segment"] == list(range(5))
    assert messages[0] == {
        "type": "language",
        "job_id": "a",
        "language": "de",
        "language_probability": 0.75,
        "alternatives": [],
    }


def test_one_window_tells_the_language_and_the_others_follow(long: Path) -> None:
    batches: list[list[tuple[int, str | None]]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        batches.append([(row.window.index, row.language) for row in rows])
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("a", long)
    bench.messages_of("a")

    assert batches[0] == [(0, None)]
    assert all(language == "de" for batch in batches[1:] for _, language in batch)
    assert sorted(index for batch in batches for index, _ in batch) == list(range(5))


def test_too_little_memory_halves_the_batch(long: Path) -> None:
    sizes: list[int] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        sizes.append(len(rows))
        if len(rows) > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("a", long, language="en")
    messages = bench.messages_of("a")

    assert messages[-1]["type"] == "done"
    assert sum(1 for m in messages if m["type"] == "window") == 5
    assert max(sizes) > 1
    assert sizes.count(1) == 5


def test_a_batch_that_did_not_fit_is_told_and_the_next_ones_are_smaller_at_once(tmp_path: Path) -> None:
    tried: list[int] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        tried.append(len(rows))
        if len(rows) > 2:
            raise RuntimeError("CUDA failed with error out of memory")
        return decode_all(rows)

    bench = SchedulerBench(decode, batch_size=4)
    bench.submit("a", _loud(tmp_path, 400), language="en")
    messages = bench.messages_of("a")
    sizes = [message["sizes"] for message in bench.messages if message["type"] == "batch_ended"]

    shrunk = [(m["before"], m["after"]) for m in messages if m["type"] == "batch_shrunk"]
    assert shrunk == [(4, 2)]
    assert messages[-1]["type"] == "done"
    assert [size for size in tried if size > 2] == [4]
    assert sum(map(sum, sizes)) == sum(1 for m in messages if m["type"] == "window")


def test_a_window_that_always_fails_costs_its_own_job_only(long: Path, short: Path) -> None:
    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        if any(row.options.initial_prompt == "bad" for row in rows):
            raise RuntimeError("CUDA failed with error out of memory")
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("good", long, language="en", initial_prompt="abc")
    bench.submit("bad", short, language="en", initial_prompt="bad")

    assert bench.messages_of("bad")[-1]["code"] == "out_of_memory"
    assert bench.messages_of("good")[-1]["type"] == "done"


def test_a_lost_device_ends_the_engine_without_an_answer(short: Path) -> None:
    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        raise RuntimeError("CUDA failed with error an illegal memory access was encountered")

    bench = SchedulerBench(decode)
    bench.submit("a", short, language="en")

    assert bench.wait_for_fault().fault.code == "cuda_error"
    assert [m for m in bench.messages if m["type"] in ("error", "done")] == []


def test_a_cancelled_job_is_told_at_once_and_nothing_more_of_it_is_decoded(long: Path, short: Path) -> None:
    started, resume = threading.Event(), threading.Event()
    decoded_jobs: list[str | None] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        decoded_jobs.extend(row.options.hotwords for row in rows)
        started.set()
        assert resume.wait(20)
        return decode_all(rows)

    bench = SchedulerBench(decode, batch_size=1)
    bench.submit("a", long, language="en", hotwords="a")
    assert started.wait(20)
    bench.scheduler.post(Cancelled(job_id="unknown"))
    bench.scheduler.post(Cancelled(job_id="a"))
    messages = bench.messages_of("a")
    resume.set()
    bench.submit("b", short, language="en", hotwords="b")

    assert messages[-1]["type"] == "cancelled"
    assert bench.messages_of("b")[-1]["type"] == "done"
    assert decoded_jobs == ["a", "b"]
    assert bench.messages_of("a") == messages


def test_a_row_knows_that_its_job_was_cancelled(long: Path) -> None:
    stopped: list[bool] = []
    started, resume = threading.Event(), threading.Event()

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        started.set()
        assert resume.wait(20)
        stopped.extend(row.stopped.is_set() for row in rows)
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("a", long, language="en")
    assert started.wait(20)
    bench.scheduler.post(Cancelled(job_id="a"))
    bench.messages_of("a")
    resume.set()
    bench.wait_for("batch_ended")

    assert stopped == [True]


def test_a_clip_of_the_short_lane_does_not_wait_for_a_batch_of_the_long_one(long: Path, short: Path) -> None:
    resume, started = threading.Event(), threading.Event()

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        if rows[0].options.hotwords == "long":
            started.set()
            assert resume.wait(20)
        return decode_all(rows)

    bench = SchedulerBench(decode, lanes=LanePlan(shared=2, has_short=True))
    bench.submit("long", long, language="en", hotwords="long")
    assert started.wait(20)
    bench.submit("short", short, language="en", lane="short")

    assert bench.messages_of("short")[-1]["type"] == "done"
    resume.set()
    assert bench.messages_of("long")[-1]["type"] == "done"


def test_lanes_side_by_side_take_groups_of_one_file_and_tell_them_in_order(long: Path) -> None:
    later_done = threading.Event()
    batches: list[list[int]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        batches.append([row.window.index for row in rows])
        if rows[0].window.index == 1:
            assert later_done.wait(20)
        if rows[0].window.index == 3:
            later_done.set()
        return decode_all(rows)

    bench = SchedulerBench(decode, lanes=LanePlan(shared=2))
    bench.submit("a", long, language="en")
    messages = bench.messages_of("a")

    assert sorted(index for batch in batches for index in batch) == list(range(5))
    assert [m["index"] for m in messages if m["type"] == "window"] == list(range(5))


def test_towards_the_end_of_a_file_lanes_take_less_so_that_they_end_together(long: Path) -> None:
    batches: list[list[int]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        batches.append([row.window.index for row in rows])
        return decode_all(rows)

    untouched, bench = SchedulerBench(decode_all), SchedulerBench(decode, lanes=LanePlan(shared=2))
    untouched.submit("a", long)
    bench.submit("a", long, resumed=resumed_at(1, untouched.messages_of("a"), with_plan=True))
    bench.messages_of("a")

    assert sorted(batches) == [[1, 2], [3], [4]]


@pytest.mark.parametrize("options", [{"condition_on_previous_text": True, "language": "en"}, {}])
def test_windows_that_wait_for_the_one_before_are_not_taken_by_another_lane(
    long: Path, options: dict[str, Any]
) -> None:
    """Each needs the text of the one before, or all need the language."""
    at_work: list[int] = []
    early: list[int] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        first = rows[0].window.index
        if at_work and ("condition_on_previous_text" in options or 0 in at_work):
            early.append(first)
        at_work.append(first)
        threading.Event().wait(0.05)  # time for another lane to go wrong
        at_work.remove(first)
        return decode_all(rows)

    bench = SchedulerBench(decode, lanes=LanePlan(shared=2))
    bench.submit("a", long, **options)
    bench.messages_of("a")

    assert early == []


def test_while_a_clip_has_the_extra_lane_no_long_batch_begins(long: Path, short: Path) -> None:
    steps = {name: threading.Event() for name in ("long", "short")}

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        assert steps[rows[0].options.hotwords or ""].wait(20)
        return decode_all(rows)

    bench = SchedulerBench(decode, lanes=LanePlan(shared=1, has_short=True))
    bench.submit("long", long, language="en", hotwords="long")
    bench.wait_for("batch_started")
    bench.submit("short", short, language="en", hotwords="short", lane="short")
    bench.wait_for_count("batch_started", 2)
    steps["long"].set()
    bench.wait_for("window")
    steps["short"].set()

    assert bench.messages_of("long")[-1]["type"] == "done"
    batches = [(m["type"], m["batch"]) for m in bench.messages if m["type"].startswith("batch_")]
    assert batches[:5] == [
        ("batch_started", 1),
        ("batch_started", 2),
        ("batch_ended", 1),
        ("batch_ended", 2),
        ("batch_started", 3),
    ]


def test_clips_and_long_files_share_no_batch_where_lanes_are_parted(long: Path, short: Path) -> None:
    batches: list[set[str | None]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        batches.append({row.options.language for row in rows})
        return decode_all(rows)

    bench = SchedulerBench(decode, lanes=LanePlan(shared=1, has_short=True))
    bench.submit("long", long, language="en")
    for number in range(4):
        bench.submit(f"short-{number}", short, language="de", lane="short")

    assert {bench.messages_of(f"short-{number}")[-1]["type"] for number in range(4)} == {"done"}
    assert bench.messages_of("long")[-1]["type"] == "done"
    assert all(len(languages) == 1 for languages in batches)


def test_with_one_lane_there_is_one_batch_at_a_time(long: Path, short: Path) -> None:
    running, most = threading.Semaphore(1), []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        most.append(running.acquire(blocking=False))
        running.release()
        return decode_all(rows)

    bench = SchedulerBench(decode)
    for number in range(3):
        bench.submit(f"long-{number}", long, language="en")
        bench.submit(f"short-{number}", short, language="en", lane="short")

    assert {bench.messages_of(f"{lane}-{n}")[-1]["type"] for lane in ("long", "short") for n in range(3)} == {
        "done"
    }
    assert all(most)


def test_batches_of_a_job_are_the_same_in_every_run_and_the_first_are_small(long: Path) -> None:
    batches: list[list[int]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        batches.append([row.window.index for row in rows])
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("a", long, language="en")
    bench.messages_of("a")

    assert batches == [[0], [1, 2], [3, 4]]


def test_windows_are_told_though_the_plan_is_not_complete(long: Path) -> None:
    """The VAD of the second half waits until the first window was told; every 16 s there is a pause."""
    window_told = threading.Event()

    class SlowVad(FakeVad):
        frames = 0

        def run(self, output_names: None, inputs: dict[str, Samples]) -> list[Samples]:
            places = self.frames + np.arange(len(inputs["input"]))
            self.frames += len(places)
            if self.frames > 2500:
                assert window_told.wait(20)
            heard, *state = super().run(output_names, inputs)
            heard[(places % 500 >= 200) & (places % 500 < 212)] = 0.0
            return [heard, *state]

    bench = SchedulerBench(decode_all, vad=SlowVad())
    bench.submit("a", long, language="en")
    bench.wait_for("window")
    window_told.set()
    messages = bench.messages_of("a")

    plans = [m for m in messages if m["type"] == "plan"]
    assert [plan["is_complete"] for plan in plans][-1] is True
    assert len(plans) > 1
    assert [plan["first_index"] for plan in plans] == [
        sum(len(plan["windows"]) for plan in plans[:count]) for count in range(len(plans))
    ]
    planned = 0
    for message in messages:
        if message["type"] == "plan":
            planned += len(message["windows"])
        if message["type"] == "window":
            assert message["index"] < planned


def plan_of(messages: list[dict[str, Any]]) -> tuple[Window, ...]:
    spans = [
        (span, speech)
        for plan in messages
        if plan["type"] == "plan"
        for span, speech in zip(plan["windows"], plan["speech"], strict=True)
    ]
    return tuple(
        Window(
            index=index,
            start=start,
            end=end,
            speech=tuple(SpeechChunk(start=first, end=last) for first, last in speech),
        )
        for index, ((start, end), speech) in enumerate(spans)
    )


def resumed_at(
    windows: int, untouched: list[dict[str, Any]], *, with_plan: bool, history: tuple[int, ...] | None = None
) -> Resumed:
    """As the service would resume the job after so many windows."""
    segments = [m["segment"] for m in untouched if m["type"] == "segment"][:windows]
    totals = PlanTotals(is_complete=True, duration_after_vad=140.0, vad_seconds=0.5)
    return Resumed(
        language="de",
        language_probability=0.75,
        told=Sequenced(
            windows=windows,
            segments=len(segments),
            last_ends={None: segments[-1]["end"]} if segments else {},
            plan=plan_of(untouched) if with_plan else None,
        ),
        totals=totals if with_plan else None,
        history=history,
    )


@pytest.mark.parametrize("windows", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("with_plan", [True, False])
def test_a_resumed_job_tells_the_rest_of_an_untouched_one(long: Path, windows: int, with_plan: bool) -> None:
    untouched, bench = SchedulerBench(decode_all), SchedulerBench(decode_all)
    untouched.submit("a", long)
    untouched = untouched.messages_of("a")

    bench.submit("a", long, resumed=resumed_at(windows, untouched, with_plan=with_plan))
    messages = bench.messages_of("a")

    told = [m for m in messages if m["type"] in ("window", "segment")]
    assert told == [m for m in untouched if m["type"] in ("window", "segment")][2 * windows :]
    assert {m["type"] for m in messages} & {"language", "plan"} == (set() if with_plan else {"plan"})
    assert messages[-1]["notices"] == []
    if with_plan:
        assert messages[-1]["vad_seconds"] == 0.5


def test_a_known_plan_needs_no_vad_and_a_finished_window_no_decoding(long: Path) -> None:
    class NoVad(FakeVad):
        def run(self, output_names: None, inputs: dict[str, Samples]) -> list[Samples]:
            raise AssertionError("VAD ran")

    rows_decoded: list[int] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        rows_decoded.extend(row.window.index for row in rows)
        return decode_all(rows)

    untouched = SchedulerBench(decode_all)
    untouched.submit("a", long)
    bench = SchedulerBench(decode, vad=NoVad())
    bench.submit("a", long, resumed=resumed_at(2, untouched.messages_of("a"), with_plan=True))

    assert bench.messages_of("a")[-1]["type"] == "done"
    assert rows_decoded == [2, 3, 4]


def test_where_the_batch_matters_the_whole_group_is_decoded_again_and_told_once(long: Path) -> None:
    class Fickle(FakeModel):
        alone_is_alike = False

    batches: list[list[int]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        batches.append([row.window.index for row in rows])
        return decode_all(rows)

    untouched = SchedulerBench(decode_all)
    untouched.submit("a", long)
    bench = SchedulerBench(decode, model=Fickle())
    bench.submit("a", long, resumed=resumed_at(2, untouched.messages_of("a"), with_plan=True))
    messages = bench.messages_of("a")

    assert batches == [[1, 2], [3, 4]]
    assert [m["index"] for m in messages if m["type"] == "window"] == [2, 3, 4]


def test_a_resumed_job_goes_on_with_the_text_before(long: Path) -> None:
    prompts: list[tuple[int, ...]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        prompts.extend(row.history for row in rows)
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("a", long, language="en", initial_prompt="A", condition_on_previous_text=True)
    untouched = bench.messages_of("a")
    histories = [tuple(m["history"]) for m in untouched if m["type"] == "window"]
    first_prompts, prompts = prompts, []
    bench.submit(
        "b",
        long,
        initial_prompt="A",
        condition_on_previous_text=True,
        resumed=resumed_at(3, untouched, with_plan=True, history=histories[2]),
    )
    bench.messages_of("b")

    assert histories == [(65, *[1, 2] * count) for count in range(1, 6)]
    assert prompts == first_prompts[3:]


def test_history_is_kept_as_far_as_the_model_can_use_it(long: Path) -> None:
    bench = SchedulerBench(lambda rows: [decoded(row, written=tuple(range(200))) for row in rows])

    bench.submit("a", long, language="en", condition_on_previous_text=True)

    assert {len(m["history"]) for m in bench.messages_of("a") if m["type"] == "window"} == {200, 223}


def test_each_window_gets_the_text_before_it_when_asked(long: Path) -> None:
    prompts: list[tuple[int, ...]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        prompts.extend(row.history for row in rows)
        return decode_all(rows)

    bench = SchedulerBench(decode)
    bench.submit("a", long, language="en", initial_prompt="A", condition_on_previous_text=True)
    bench.messages_of("a")

    assert prompts == [(65, *[1, 2] * count) for count in range(5)]


def test_wild_text_is_no_prompt(long: Path) -> None:
    prompts: list[tuple[int, ...]] = []

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        prompts.extend(row.history for row in rows)
        return [decoded(row, temperature=0.6) for row in rows]

    bench = SchedulerBench(decode)
    bench.submit("a", long, language="en", initial_prompt="A", condition_on_previous_text=True)
    bench.messages_of("a")

    assert prompts == [(65,), (), (), (), ()]


def test_a_prompt_without_room_is_named(short: Path) -> None:
    bench = SchedulerBench(decode_all)

    bench.submit("a", short, language="en", initial_prompt="x" * 300, hotwords="y" * 300)

    notices = bench.messages_of("a")[-1]["notices"]
    assert {(n["code"], n["param"]) for n in notices} == {
        ("prompt_truncated", "initial_prompt"),
        ("prompt_truncated", "hotwords"),
    }


def test_a_language_the_model_lacks_is_refused(short: Path) -> None:
    bench = SchedulerBench(decode_all)

    bench.submit("a", short, language="tlh")

    assert bench.messages_of("a") == [
        {
            "type": "error",
            "job_id": "a",
            "code": "language_not_supported",
            "message": "This model does not know the language 'tlh'.",
            "fix": bench.messages_of("a")[0]["fix"],
        }
    ]


def test_audio_that_is_not_there_fails_its_job(tmp_path: Path, short: Path) -> None:
    bench = SchedulerBench(decode_all)

    bench.submit("gone", tmp_path / "gone.pcm", language="en")
    bench.submit("next", short, language="en")

    assert bench.messages_of("gone")[-1]["code"] == "engine_failed"
    assert bench.messages_of("next")[-1]["type"] == "done"


def of_test(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"].startswith("selftest")]


def test_a_self_test_waits_for_the_batch_in_work_and_goes_before_the_next(long: Path) -> None:
    events: list[str] = []
    in_batch, ordered = threading.Event(), threading.Event()

    def decode(rows: Sequence[DecodingRow]) -> list[DecodedWindow]:
        events.append("batch begins")
        in_batch.set()
        assert ordered.wait(20)
        events.append("batch ends")
        return decode_all(rows)

    def selftest() -> SelfTestReport:
        events.append("test")
        return passing()

    bench = SchedulerBench(decode, selftest=selftest)
    bench.submit("a", long, language="en")
    assert in_batch.wait(20)
    bench.scheduler.post(SelfTestOrdered(test_id=7))
    ordered.set()
    bench.messages_of("a")

    assert events[:4] == ["batch begins", "batch ends", "test", "batch begins"]
    assert [(m["type"], m["test_id"]) for m in of_test(bench.messages)] == [
        ("selftest_started", 7),
        ("selftest_ended", 7),
    ]
    assert of_test(bench.messages)[1]["report"]["steps"][0]["name"] == "computed"


def test_an_idle_engine_is_tested_at_once() -> None:
    bench = SchedulerBench(decode_all)

    bench.scheduler.post(SelfTestOrdered(test_id=1))
    bench.wait_for("selftest_ended")

    assert len(of_test(bench.messages)) == 2


def test_with_two_lanes_the_short_one_goes_on_while_the_engine_is_tested(short: Path) -> None:
    release = threading.Event()

    def selftest() -> SelfTestReport:
        assert release.wait(20)
        return passing()

    bench = SchedulerBench(decode_all, lanes=LanePlan(shared=1, has_short=True), selftest=selftest)
    bench.scheduler.post(SelfTestOrdered(test_id=1))
    bench.wait_for("selftest_started")
    bench.submit("clip", short, lane="short")
    bench.messages_of("clip")
    is_tested_meanwhile = any(m["type"] == "selftest_ended" for m in bench.messages)
    release.set()
    bench.wait_for("selftest_ended")

    assert not is_tested_meanwhile
