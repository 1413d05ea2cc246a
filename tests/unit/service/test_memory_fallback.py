"""Jobs on a GPU with too little memory: step by step down the ladder, with nothing lost and every step told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fake_gpu import make_status
from fake_ports import FakeEngine, FakeEnginePool
from job_bench import Bench, make_job
from transcriber.domain.errors import EngineFailedError, EngineStartError, GpuRequiredError
from transcriber.domain.events import BatchShrunk, EngineEvent
from transcriber.domain.ports import Engine, EngineInfo
from transcriber.domain.transcript import Corroboration, MemoryStep
from transcriber.gpu.degradation_steps import DegradationStep
from transcriber.gpu.memory_fallback import REMEMBERED_SECONDS, DegradationPolicy
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.receipt.engine_facts import EngineFacts

FULL = DegradationStep(compute_type="float16", batch_size=4)
TO_INT8 = MemoryStep(code="lighter_compute_type", before="float16", after="int8_float16")
TO_CPU = MemoryStep(code="cpu", before="cuda, int8_float16", after="cpu")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.native.shutdown()


@dataclass
class SmallEngine(FakeEngine):
    """An engine on a card that is too small for it, unless `fails_at` is None: before that window memory runs out."""

    compute_type: str = "float16"
    fails_at: int | None = None
    shrinks: tuple[tuple[int, int], ...] = ()
    clock: object = None

    @property
    def info(self) -> EngineInfo:
        told = FakeEngine.info.fget(self)  # type: ignore[attr-defined]
        at = self.clock.now()  # type: ignore[attr-defined]
        kind = self.compute_type if self.device == "cuda" else told.compute_type
        return replace(told, compute_type=kind, requested_compute_type=kind, started_at=at)

    def transcribe(self, *arguments: object, **options: object) -> Iterator[EngineEvent]:
        if self.fails_at is not None:
            error = EngineFailedError("CUDA failed with error out of memory", code="out_of_memory")
            self.errors, self.error_at = [error], self.fails_at
        yield from (BatchShrunk(before=before, after=after) for before, after in self.shrinks)
        yield from FakeEngine.transcribe(self, *arguments, **options)  # type: ignore[arg-type]


@dataclass
class Ladder:
    """A pool that starts engines on the level that holds, as bootstrap does. `rooms`: windows until memory runs out."""

    bench: Bench
    rooms: dict[str, int | None]
    shrinks: tuple[tuple[int, int], ...] = ()
    status: GpuStatus = field(default_factory=make_status)
    lent: list[str] = field(default_factory=list)
    discarded: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.degradation_policy = DegradationPolicy(
            clock=self.bench.clock, status=lambda: self.status, read_gpu=lambda: None
        )
        self._up: SmallEngine | None = None

    @contextmanager
    def lend(self, device: str, model: str) -> Iterator[Engine]:
        if device == "cpu":
            self.lent.append("cpu")
            yield FakeEngine("cpu", ("cpu",) * 4)
            return
        if self._up is None:
            kind = self.degradation_policy.level(model, FULL).compute_type
            fails_at = self.rooms.get(kind)
            self._up = SmallEngine(
                "cuda", ("cuda",) * 4, compute_type=kind, fails_at=fails_at,
                shrinks=self.shrinks, clock=self.bench.clock,
            )  # fmt: skip
        self.lent.append(self._up.compute_type)
        yield self._up

    def running(self) -> tuple[EngineInfo, ...]:
        return ()

    def discard(self, engine: Engine, error: object = None, *, blocks: bool = True) -> None:
        self.discarded.append(engine)
        self._up = None

    def close(self) -> None: ...

    def run(self, **job: bool) -> object:
        return self.bench.run(
            self, make_job(**job), status=self.status, degradation_policy=self.degradation_policy
        )  # type: ignore[arg-type]


def test_a_lighter_type_goes_on_where_memory_ran_out_and_the_answer_is_the_gpus(bench: Bench) -> None:
    ladder = Ladder(bench, rooms={"float16": 2})

    answer = ladder.run()

    assert ladder.lent == ["float16", "int8_float16"]
    assert (answer.gpu_used, answer.device, answer.compute_type) == (True, "cuda", "mixed")
    assert answer.receipt.steps == (TO_INT8,)
    assert (answer.receipt.windows_gpu, answer.receipt.windows_total) == (4, 4)
    told = [(engine.compute_type, engine.windows_gpu) for engine in answer.receipt.engines]
    # The second window was told and not yet known to be whole, so it is done again.
    assert told == [("float16", 1), ("int8_float16", 3)]
    assert [segment.id for segment in answer.segments] == [0, 1, 2, 3]
    assert "gpu_memory_steps" in [notice.code for notice in answer.warnings]
    assert len(ladder.discarded) == 1


def test_the_cpu_comes_last_and_a_mixed_job_says_so_and_why(bench: Bench) -> None:
    ladder = Ladder(bench, rooms={"float16": 2, "int8_float16": 3})

    answer = ladder.run()

    assert ladder.lent == ["float16", "int8_float16", "cpu"]
    assert (answer.gpu_used, answer.device) == (False, "mixed")
    assert answer.fallback_reason is not None and answer.fallback_reason.code == "mixed_devices"
    assert (answer.receipt.windows_gpu, answer.receipt.windows_cpu) == (2, 2)
    assert answer.receipt.steps == (TO_INT8, TO_CPU)
    assert {"mixed_devices", "cuda_out_of_memory"} <= {notice.code for notice in answer.warnings}
    assert [segment.id for segment in answer.segments] == [0, 1, 2, 3]


def test_the_next_job_does_not_climb_again_until_it_is_forgotten(bench: Bench) -> None:
    ladder = Ladder(bench, rooms={"float16": 0, "int8_float16": 0})
    first = ladder.run()
    (bench.folder / "journal").unlink()

    second = ladder.run()
    (bench.folder / "journal").unlink()
    bench.clock.seconds += REMEMBERED_SECONDS
    ladder.rooms = {}
    third = ladder.run()

    assert ladder.lent == ["float16", "int8_float16", "cpu", "cpu", "float16"]
    assert first.receipt.steps == second.receipt.steps == (TO_INT8, TO_CPU)
    assert second.fallback_reason is not None and second.fallback_reason.code == "cuda_out_of_memory"
    assert (third.gpu_used, third.receipt.steps) == (True, ())


def test_who_requires_the_gpu_is_refused_only_after_the_lightest_type_has_failed(bench: Bench) -> None:
    ladder = Ladder(bench, rooms={"float16": 0, "int8_float16": 0})
    with pytest.raises(GpuRequiredError, match="cuda_out_of_memory"):
        ladder.run(require_gpu=True)
    (bench.folder / "journal").unlink()

    ladder.rooms = {"float16": 0}
    answer = ladder.run(require_gpu=True)

    assert ladder.lent == ["float16", "int8_float16", "int8_float16"]
    assert (answer.gpu_used, answer.compute_type) == (True, "int8_float16")
    # It fitted after all: the answer does not speak of the CPU, and others follow.
    assert answer.receipt.steps == (TO_INT8,)
    (bench.folder / "journal").unlink()
    assert ladder.run().gpu_used
    assert ladder.lent[3:] == ["int8_float16"]


def test_smaller_batches_cost_nothing_but_are_told(bench: Bench) -> None:
    ladder = Ladder(bench, rooms={}, shrinks=((4, 2),))

    answer = ladder.run()

    assert answer.gpu_used
    assert answer.receipt.steps == (MemoryStep(code="smaller_batch", before="4", after="2"),)
    assert ladder.degradation_policy.level("base", FULL).batch_size == 2


def test_lighter_engine_is_replaced_once_there_is_room_again(bench: Bench) -> None:
    ladder = Ladder(bench, rooms={"float16": 0})
    ladder.run()
    (bench.folder / "journal").unlink()
    bench.clock.seconds += REMEMBERED_SECONDS
    ladder.rooms = {}

    answer = ladder.run()

    assert ladder.lent == ["float16", "int8_float16", "int8_float16", "float16"]
    assert (answer.compute_type, answer.receipt.steps) == ("float16", ())


def test_numbers_that_are_none_end_the_engine_and_the_job_goes_to_the_cpu(bench: Bench) -> None:
    error = EngineFailedError("It computed NaN.", code="numbers_not_finite", fix="Use float32.")
    engine = FakeEngine("cuda", ("cuda",) * 2, errors=[error])
    pool = FakeEnginePool(engines={"cuda": engine, "cpu": FakeEngine("cpu", ("cpu",) * 2)})

    answer = bench.run(pool)

    assert (answer.gpu_used, answer.device) == (False, "cpu")
    assert answer.fallback_reason is not None and answer.fallback_reason.code == "numbers_not_finite"
    assert pool.discarded == [engine]
    [error_of_gpu] = pool.discarded_for
    assert isinstance(error_of_gpu, EngineStartError) and error_of_gpu.code == "numbers_not_finite"


@pytest.mark.parametrize("verdict", ["agrees", "disagrees", "not_available"])
def test_nvml_and_libraries_are_in_the_receipt_and_change_no_verdict(bench: Bench, verdict: str) -> None:
    seen = EngineFacts(
        partition="whole",
        kernels="machine code 8.6",
        is_jit=False,
        libraries={"libcuda": "/usr/lib/libcuda.so.1"},
        nvml=Corroboration(verdict=verdict, why="it says so"),
    )
    pool = FakeEnginePool(engines={"cuda": FakeEngine("cuda", ("cuda", "cuda"))})

    answer = bench.run(pool, seen=seen)

    assert (answer.gpu_used, answer.fallback_reason) == (True, None)
    assert answer.receipt.nvml == seen.nvml
    assert (answer.receipt.partition, answer.receipt.kernels, answer.receipt.is_jit) == (
        "whole",
        "machine code 8.6",
        False,
    )
    assert answer.receipt.libraries == {"libcuda": "/usr/lib/libcuda.so.1"}
