"""The pipeline check: which stage is to blame, when it counts, and when the next check is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from fake_gpu import make_engine
from fake_ports import FakeClock, FakeDecoder
from transcriber.domain.errors import (
    DecoderUnavailableError,
    EngineCrashedError,
    EngineError,
    EngineFailedError,
    ShuttingDownError,
    StorageFailedError,
    StorageFullError,
    TranscriberError,
    UndecodableMediaError,
)
from transcriber.domain.events import EngineEvent, Finished, Planned, SegmentReady, WindowDone
from transcriber.domain.ports import EngineInfo
from transcriber.domain.selftest import CLIP_TEXT, SelfTestReport
from transcriber.domain.transcript import Segment
from transcriber.observability.pipeline_check import (
    RETRY_SECONDS,
    PipelineCheck,
    PipelineParts,
    check_decoder,
)
from transcriber.observability.pipeline_stages import DECODE, ENGINE, STAGES, STORAGE, VAD, WORDS

INTERVAL = 30.0


class RenewedDecoder(FakeDecoder):
    renewals = 0

    def renew(self) -> None:
        self.renewals += 1


@dataclass(eq=False)
class SpeakingEngine:
    """Says this of every clip; an error is raised after the plan, or before it."""

    info: EngineInfo = field(default_factory=lambda: make_engine(device="cpu", warmup_device="cpu"))
    text: str = CLIP_TEXT
    speech_seconds: float = 3.6
    error: TranscriberError | None = None
    is_planned: bool = True
    alive: bool = True
    lanes: list[str] = field(default_factory=list)
    seconds: float = 0.5

    def transcribe(self, *_: Any, lane: str, **__: Any) -> Iterator[EngineEvent]:
        self.lanes.append(lane)
        if self.is_planned:
            yield Planned(
                first_index=0,
                windows=((0, 57_600),),
                is_complete=True,
                duration_after_vad=self.speech_seconds,
                vad_seconds=0.01,
            )
        if self.error is not None:
            raise self.error
        yield WindowDone(index=0, device="cpu")
        yield SegmentReady(segment=make_segment(self.text))
        yield Finished(
            vad_seconds=0.01,
            language_detection_seconds=0.0,
            transcription_seconds=self.seconds,
            pool_peak_bytes=None,
            notices=(),
        )

    def selftest(self, timeout: float) -> SelfTestReport:
        raise NotImplementedError

    def cancel(self, job_id: str) -> None: ...

    def close(self, grace: float = 2.0) -> None: ...

    @property
    def busy(self) -> int:
        return 0

    @property
    def wasted_seconds(self) -> float:
        return 0.0


def make_segment(text: str) -> Segment:
    return Segment(
        id=0, seek=0, start=0.0, end=3.6, text=text, tokens=(), avg_logprob=-0.2, compression_ratio=1.0,
        no_speech_prob=0.0, words=None, temperature=0.0,
    )  # fmt: skip


@dataclass
class Bench:
    """A check over parts that a test takes away."""

    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    decoder: RenewedDecoder = field(default_factory=RenewedDecoder)
    engines: list[SpeakingEngine] = field(default_factory=lambda: [SpeakingEngine()])
    room: TranscriberError | None = None
    store: TranscriberError | None = None
    knows_words: bool = True
    interval: float = INTERVAL
    replaced: list[tuple[SpeakingEngine, EngineError]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.check = PipelineCheck(
            PipelineParts(
                folder=self.folder / "check",
                native=lambda work: work(),
                check_room=lambda: raise_if(self.room),
                check_store=lambda: raise_if(self.store),
                decoder=self.decoder,
                engines=lambda: tuple(self.engines),
                knows_words=self.knows_words,
                replace=lambda engine, error: self.replaced.append((engine, error)),  # type: ignore[arg-type]
            ),
            clock=self.clock,
            interval=self.interval,
        )

    @property
    def outcomes(self) -> dict[str, str]:
        return {state.name: state.outcome for state in self.check.states}

    @property
    def failing(self) -> str | None:
        return self.check.failure and self.check.failure[0]

    def is_checked_after(self, seconds: float) -> bool:
        """Whether a check is due when so much time has passed; it is made."""
        self.clock.seconds += seconds
        before = len(self.decoder.decoded)
        self.check.round()
        return len(self.decoder.decoded) > before


def raise_if(error: TranscriberError | None) -> None:
    if error is not None:
        raise error


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_clip_that_comes_out_as_its_words_passes_every_stage_and_leaves_no_file(bench: Bench) -> None:
    bench.check.settle()

    assert bench.outcomes == dict.fromkeys(STAGES, "passed")
    assert bench.check.failure is None
    assert not (bench.folder / "check").exists()
    assert bench.engines[0].lanes == ["short"]
    assert bench.replaced == []


def set_room(b: Bench) -> None:
    b.room = StorageFullError()


def set_store(b: Bench) -> None:
    b.store = StorageFailedError("The data folder can't be used.")


def set_folder(b: Bench) -> None:
    if (b.folder / "check").is_dir():
        (b.folder / "check").rmdir()
    (b.folder / "check").write_text("a file where the folder is to be")


def set_decoder_gone(b: Bench) -> None:
    b.decoder.error = DecoderUnavailableError("The decode server did not become ready: no module named 'av'.")


def set_decoder_refusing(b: Bench) -> None:
    b.decoder.error = UndecodableMediaError("The upload is damaged and can't be read.")


def set_decoder_odd(b: Bench) -> None:
    b.decoder.errors = [OSError("odd"), OSError("odd")]  # type: ignore[list-item]


def set_silence(b: Bench) -> None:
    b.engines[0].speech_seconds = 0.0


def set_vad_error(b: Bench) -> None:
    b.engines[0].is_planned = False
    b.engines[0].error = EngineFailedError("onnxruntime failed.", code="vad_broken")


def set_engine_error(b: Bench) -> None:
    b.engines[0].error = EngineFailedError("It failed.", code="cublas_failed", fix="Do this.")


def set_engine_death(b: Bench) -> None:
    b.engines[0].error = EngineCrashedError("It died.", is_fault=True)


def set_garbage(b: Bench) -> None:
    b.engines[0].text = "Thanks for watching!"


TAKEN_AWAY: list[tuple[Callable[[Bench], None], str, str]] = [
    (set_room, STORAGE, "storage_full"),
    (set_store, STORAGE, "storage_failed"),
    (set_folder, STORAGE, "storage_failed"),
    (set_decoder_gone, DECODE, "decoder_unavailable"),
    (set_decoder_refusing, DECODE, "decoder_unavailable"),
    (set_decoder_odd, DECODE, "internal_error"),
    (set_silence, VAD, "vad_failed"),
    (set_vad_error, VAD, "vad_broken"),
    (set_engine_error, ENGINE, "cublas_failed"),
    (set_engine_death, ENGINE, "engine_crashed"),
    (set_garbage, WORDS, "words_differ"),
]


@pytest.mark.parametrize(("take_away", "stage", "code"), TAKEN_AWAY)
def test_what_is_taken_away_fails_its_stage_by_name_and_recovers_when_it_is_back(
    bench: Bench, take_away: Callable[[Bench], None], stage: str, code: str
) -> None:
    bench.check.settle()
    take_away(bench)

    bench.check.run()
    assert bench.check.failure is None, "once may be chance"
    bench.check.run()

    assert bench.check.failure is not None
    failing, reason = bench.check.failure
    assert (failing, reason.code) == (stage, code)
    assert f"'{stage}'" in reason.message and reason.fix
    before = STAGES[: STAGES.index(stage)]
    assert [bench.outcomes[name] for name in before] == ["passed"] * len(before)

    other = Bench(bench.folder / "other")
    (bench.folder / "other").mkdir()
    bench.room, bench.store, bench.decoder.error, bench.decoder.errors = None, None, None, []
    if (bench.folder / "check").is_file():
        (bench.folder / "check").unlink()
    bench.engines[:] = other.engines
    bench.check.run()
    assert bench.check.failure is None
    assert bench.outcomes == dict.fromkeys(STAGES, "passed")


@pytest.mark.parametrize(("take_away", "stage", "code"), TAKEN_AWAY)
def test_at_the_start_a_failure_is_certain_before_the_service_is_ready(
    bench: Bench, take_away: Callable[[Bench], None], stage: str, code: str
) -> None:
    take_away(bench)

    bench.check.settle()

    assert bench.failing == stage


def test_engine_that_fails_is_replaced_once_and_not_again_while_that_did_not_help(bench: Bench) -> None:
    set_garbage(bench)
    bench.check.settle()
    for _ in range(5):
        bench.check.run()

    assert [(engine, error.code) for engine, error in bench.replaced] == [(bench.engines[0], "words_differ")]
    bench.clock.seconds += 600
    bench.check.run()
    assert len(bench.replaced) == 2


def test_failure_that_lasts_is_one_line_of_the_log(bench: Bench) -> None:
    bench.check.settle()
    with structlog.testing.capture_logs() as logs:
        set_decoder_gone(bench)
        for _ in range(5):
            bench.check.run()
        bench.decoder.error = None
        bench.check.run()

    assert [line["event"] for line in logs] == [
        "pipeline_stage_suspected",
        "pipeline_stage_failed",
        "pipeline_stage_recovered",
    ]


def test_decoder_is_renewed_after_each_check_that_it_fails(bench: Bench) -> None:
    set_decoder_gone(bench)
    bench.check.settle()
    bench.check.run()

    assert bench.decoder.renewals == 3
    assert bench.replaced == []


def test_without_an_engine_the_last_word_on_it_stands(bench: Bench) -> None:
    bench.engines.clear()
    bench.check.settle()
    assert bench.outcomes == dict.fromkeys(STAGES, "unknown") | {"storage": "passed", "decode": "passed"}
    assert bench.check.failure is None

    bench.engines.append(SpeakingEngine(text="Thanks for watching!"))
    bench.check.settle()
    assert bench.failing == WORDS

    bench.engines.clear()
    bench.check.run()
    assert bench.failing == WORDS


def test_engine_that_dies_of_the_check_again_fails_though_there_was_none_in_between(bench: Bench) -> None:
    bench.check.settle()
    set_engine_death(bench)
    bench.check.run()
    dead = bench.engines.pop()
    bench.check.run()
    bench.engines.append(dead)
    bench.check.run()

    assert bench.failing == ENGINE


@pytest.mark.parametrize("error", [EngineCrashedError("Ended.", is_ours=True), ShuttingDownError()])
def test_engine_that_the_service_ends_itself_is_no_failure(bench: Bench, error: TranscriberError) -> None:
    bench.engines[0].error = error
    bench.check.settle()
    bench.check.run()

    assert bench.check.failure is None


def test_dead_engine_is_not_asked(bench: Bench) -> None:
    bench.engines[0].alive = False
    bench.check.settle()

    assert bench.engines[0].lanes == []


def test_unknown_model_may_say_what_it_will(tmp_path: Path) -> None:
    bench = Bench(tmp_path, knows_words=False)
    set_garbage(bench)
    bench.check.settle()

    assert bench.check.failure is None


def test_checks_are_due_at_the_interval(bench: Bench) -> None:
    assert bench.is_checked_after(0)
    assert not bench.is_checked_after(INTERVAL - 1)
    assert bench.is_checked_after(1)


def test_slow_engine_is_checked_for_no_more_than_five_percent_of_its_time(bench: Bench) -> None:
    bench.engines[0].seconds = 20.0
    assert bench.is_checked_after(0)
    assert not bench.is_checked_after(399)
    assert bench.is_checked_after(1)


def test_new_engine_and_failed_job_are_checked_soon(bench: Bench) -> None:
    assert bench.is_checked_after(0)
    bench.check.ask()
    assert not bench.is_checked_after(1)
    assert bench.is_checked_after(4)
    assert not bench.is_checked_after(5)
    bench.engines[0].info = make_engine(device="cpu", warmup_device="cpu", pid=99)
    assert bench.is_checked_after(0)


def test_failure_is_confirmed_and_then_retried_soon(bench: Bench) -> None:
    assert bench.is_checked_after(0)
    set_garbage(bench)
    assert bench.is_checked_after(INTERVAL)
    assert bench.failing is None
    assert bench.is_checked_after(2)
    assert bench.failing == WORDS
    assert not bench.is_checked_after(RETRY_SECONDS - 1)
    assert bench.is_checked_after(1)


def test_without_an_interval_only_occasions_are_checked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, interval=0)
    assert bench.is_checked_after(0)
    assert not bench.is_checked_after(100_000)
    assert bench.check.age_seconds is None
    bench.check.ask()
    assert bench.is_checked_after(0)


def test_decoder_of_an_installation_at_rest() -> None:
    decoder = RenewedDecoder()
    assert check_decoder(decoder, FakeClock().now()).outcome == "passed"

    decoder.error = UndecodableMediaError()
    state = check_decoder(decoder, FakeClock().now())
    assert (state.outcome, state.error and state.error.code) == ("failed", "decoder_unavailable")
