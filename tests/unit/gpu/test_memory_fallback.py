"""What is remembered of a GPU that was too small: so that not every job goes down the ladder, and for no longer than it is true."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from fake_gpu import make_device, make_engine, make_status
from fake_ports import FakeClock
from transcriber.domain.errors import EngineStartError
from transcriber.domain.ports import EngineInfo
from transcriber.domain.transcript import MemoryStep
from transcriber.gpu.degradation_steps import DegradationStep
from transcriber.gpu.memory_fallback import (
    REMEMBERED_SECONDS,
    ROW_SECONDS,
    SETTLING_SECONDS,
    SOONEST_SECONDS,
    UNTOLD_SECONDS,
    DegradationPolicy,
)
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.readings import GpuReadings

FULL = DegradationStep(compute_type="float16", batch_size=8)
LIGHT = DegradationStep(compute_type="int8_float16", batch_size=8)
TO_INT8 = MemoryStep(code="lighter_compute_type", before="float16", after="int8_float16")
TO_CPU = MemoryStep(code="cpu", before="cuda, int8_float16", after="cpu")
GB = 1_000_000_000


@dataclass
class Machine:
    """One L4 whose free memory and clock a test moves."""

    clock: FakeClock = field(default_factory=FakeClock)
    status: GpuStatus = field(default_factory=make_status)
    free: int | None = None
    own: int | None = None

    def __post_init__(self) -> None:
        self.degradation_policy = DegradationPolicy(
            clock=self.clock, status=lambda: self.status, read_gpu=self.read
        )

    def read(self) -> GpuReadings | None:
        if self.free is None:
            return None
        uuid = make_device().uuid
        return GpuReadings(
            uuid=uuid,
            name="L4",
            read_at=self.clock.now(),
            memory_free_bytes=self.free,
            own_bytes=self.own,
        )

    def engine(self, **changes: Any) -> EngineInfo:
        """One that is started now."""
        values = {"started_at": self.clock.now(), "model": "large-v3"}
        return make_engine(**(values | changes))

    def degrade(self, tried: DegradationStep = FULL, *, at_load: bool = True) -> DegradationStep | None:
        return self.degradation_policy.degrade("large-v3", tried, at_load=at_load).level


def test_a_model_that_did_not_fit_starts_lighter_from_then_on() -> None:
    machine = Machine()

    assert machine.degrade() == LIGHT

    assert machine.degradation_policy.level("large-v3", FULL) == LIGHT
    assert machine.degradation_policy.steps("large-v3") == (TO_INT8,)
    assert machine.degradation_policy.level("base", FULL) == FULL
    assert machine.degradation_policy.steps("base") == ()


def test_load_goes_down_the_ladder_until_the_engine_fits() -> None:
    machine, tried = Machine(), []

    def start(level: DegradationStep) -> str:
        tried.append(level)
        if level.compute_type == "float16":
            raise EngineStartError("CUDA failed with error out of memory", code="out_of_memory")
        return "engine"

    assert machine.degradation_policy.start("large-v3", FULL, start) == "engine"
    assert machine.degradation_policy.start("large-v3", FULL, start) == "engine"

    assert tried == [FULL, LIGHT, LIGHT]


def test_load_that_fits_on_no_rung_is_the_error_and_is_remembered_as_off_the_gpu() -> None:
    machine, tried = Machine(), []

    def start(level: DegradationStep) -> None:
        tried.append(level)
        raise EngineStartError("CUDA failed with error out of memory", code="out_of_memory")

    with pytest.raises(EngineStartError, match="out of memory"):
        machine.degradation_policy.start("large-v3", FULL, start)

    assert tried == [FULL, LIGHT]
    assert machine.degradation_policy.has_left_gpu("large-v3")
    assert machine.degradation_policy.steps("large-v3") == (TO_INT8, TO_CPU)
    assert machine.degradation_policy.level("large-v3", FULL) == LIGHT  # for who insists on the GPU


def test_engine_that_fits_after_all_takes_the_jobs_back_to_the_gpu() -> None:
    machine, is_full = Machine(), [True]

    def start(level: DegradationStep) -> str:
        if is_full[0]:
            raise EngineStartError("CUDA failed with error out of memory", code="out_of_memory")
        return "engine"

    with pytest.raises(EngineStartError):
        machine.degradation_policy.start("large-v3", FULL, start)
    is_full[0] = False

    assert machine.degradation_policy.start("large-v3", FULL, start) == "engine"

    assert not machine.degradation_policy.has_left_gpu("large-v3")
    assert machine.degradation_policy.level("large-v3", FULL) == LIGHT
    assert machine.degradation_policy.steps("large-v3") == (TO_INT8,)


def test_engine_that_can_be_loaded_does_not_bring_back_a_job_that_had_no_room_at_work() -> None:
    machine = Machine()
    machine.degrade(at_load=True)
    machine.degradation_policy.degrade("large-v3", replace(LIGHT, batch_size=1), at_load=False)
    assert machine.degradation_policy.has_left_gpu("large-v3")

    machine.degradation_policy.start("large-v3", FULL, lambda level: "engine")

    assert machine.degradation_policy.has_left_gpu("large-v3")


def test_other_failures_climb_nothing() -> None:
    machine = Machine()

    def start(level: DegradationStep) -> None:
        raise EngineStartError("It is broken.", code="cublas_broken")

    with pytest.raises(EngineStartError):
        machine.degradation_policy.start("large-v3", FULL, start)

    assert machine.degradation_policy.steps("large-v3") == ()


def test_two_jobs_that_fail_in_one_engine_are_one_step() -> None:
    machine = Machine()
    engine = machine.engine()

    first, second = (
        machine.degradation_policy.degrade_from(engine),
        machine.degradation_policy.degrade_from(engine),
    )

    assert first.level == second.level == replace(LIGHT, batch_size=1)
    assert machine.degradation_policy.steps("large-v3") == (TO_INT8,)


def test_engine_without_room_for_its_self_test_costs_the_next_ones_format_and_not_their_batch() -> None:
    machine = Machine()

    assert machine.degradation_policy.degrade_from_test(machine.engine(), 8).level == LIGHT
    machine.degradation_policy.note_shrunk(machine.engine(), 8, 4)
    light = machine.engine(requested_compute_type="int8_float16")
    assert machine.degradation_policy.degrade_from_test(light, 8).level is None
    assert machine.degradation_policy.has_left_gpu("large-v3")

    machine.degradation_policy.start("large-v3", FULL, lambda level: "engine")

    assert not machine.degradation_policy.has_left_gpu("large-v3")
    assert machine.degradation_policy.level("large-v3", FULL) == replace(LIGHT, batch_size=4)


def test_shrunk_batches_are_where_the_next_engine_starts() -> None:
    machine = Machine()

    machine.degradation_policy.note_shrunk(machine.engine(), 8, 4)
    machine.degradation_policy.note_shrunk(machine.engine(), 4, 2)

    assert machine.degradation_policy.level("large-v3", FULL) == replace(FULL, batch_size=2)
    assert [step.after for step in machine.degradation_policy.steps("large-v3")] == ["4", "2"]


def test_it_is_forgotten_after_a_while_and_the_lighter_engine_is_outdated_then() -> None:
    machine = Machine()
    machine.degrade()
    engine = machine.engine()

    machine.clock.seconds = REMEMBERED_SECONDS - 1
    assert machine.degradation_policy.level("large-v3", FULL) == LIGHT
    assert not machine.degradation_policy.is_outdated(engine)

    machine.clock.seconds = REMEMBERED_SECONDS
    assert machine.degradation_policy.is_outdated(engine)
    assert machine.degradation_policy.level("large-v3", FULL) == FULL
    assert not machine.degradation_policy.is_outdated(machine.engine())


def test_free_memory_ends_it_sooner_but_not_at_once() -> None:
    machine = Machine()
    machine.degrade()
    machine.free = 20 * GB

    machine.clock.seconds = SETTLING_SECONDS - 1
    assert machine.degradation_policy.steps("large-v3") == (TO_INT8,)
    machine.clock.seconds = SETTLING_SECONDS
    assert machine.degradation_policy.steps("large-v3") == ()
    machine.free = 6 * GB  # float16 needs 6.9 for eight windows
    assert machine.degradation_policy.steps("large-v3") == (TO_INT8,)


def leave(machine: Machine) -> None:
    """Down to the CPU, at work."""
    engine = machine.engine()
    machine.degradation_policy.degrade_from(engine)
    machine.degradation_policy.degrade_from(replace(engine, requested_compute_type="int8_float16"))
    assert machine.degradation_policy.has_left_gpu("large-v3")


def test_model_that_left_the_gpu_is_back_soon_after_enough_is_free_but_not_at_ever_the_same_pace() -> None:
    machine = Machine(free=20 * GB)
    for wait in (SOONEST_SECONDS, 2 * SOONEST_SECONDS, 4 * SOONEST_SECONDS):
        leave(machine)
        reason = machine.degradation_policy.why_left("large-v3")
        assert reason is not None and (reason.code, bool(reason.fix)) == ("cuda_out_of_memory", True)
        machine.clock.seconds += wait - 1
        assert machine.degradation_policy.has_left_gpu("large-v3")
        machine.clock.seconds += 1
        assert machine.degradation_policy.why_left("large-v3") is None
        assert machine.degradation_policy.level("large-v3", FULL) == FULL


def test_model_that_left_the_gpu_stays_off_it_while_the_card_is_seen_to_be_full() -> None:
    machine = Machine(free=1 * GB)
    leave(machine)

    machine.clock.seconds += REMEMBERED_SECONDS - 1
    assert machine.degradation_policy.has_left_gpu("large-v3")
    machine.clock.seconds += 1
    assert not machine.degradation_policy.has_left_gpu("large-v3")


def test_where_nobody_tells_what_is_free_it_is_tried_again_after_a_minute_then_two() -> None:
    machine = Machine()
    for wait in (UNTOLD_SECONDS, 2 * UNTOLD_SECONDS):
        leave(machine)
        machine.clock.seconds += wait - 1
        assert machine.degradation_policy.has_left_gpu("large-v3")
        machine.clock.seconds += 1
        assert not machine.degradation_policy.has_left_gpu("large-v3")
    machine.clock.seconds += ROW_SECONDS + 1
    leave(machine)
    machine.clock.seconds += UNTOLD_SECONDS
    assert not machine.degradation_policy.has_left_gpu("large-v3")


def test_what_our_own_light_engine_holds_counts_as_free_for_its_successor() -> None:
    """float16 needs 3.9 GB for the window that did not fit, and the engine in int8_float16 holds 2.4 at most, by the table."""
    machine = Machine(free=2 * GB)
    leave(machine)
    machine.clock.seconds += SOONEST_SECONDS
    assert machine.degradation_policy.has_left_gpu("large-v3")
    machine.own = 20 * GB
    assert not machine.degradation_policy.has_left_gpu("large-v3")
    machine.free = 1 * GB
    assert machine.degradation_policy.has_left_gpu("large-v3")


def test_engine_that_is_older_than_the_lesson_is_not_outdated() -> None:
    machine = Machine()
    engine = machine.engine(started_at=machine.clock.now() - timedelta(seconds=5))
    machine.degradation_policy.note_shrunk(engine, 8, 4)

    machine.clock.seconds = REMEMBERED_SECONDS

    assert not machine.degradation_policy.is_outdated(engine)
    assert not machine.degradation_policy.is_outdated(machine.engine(device="cpu"))


def test_another_card_has_learned_nothing() -> None:
    machine = Machine()
    machine.degrade()

    machine.status = make_status(devices=(make_device(uuid="GPU-2"),))

    assert machine.degradation_policy.level("large-v3", FULL) == FULL


def test_a_format_that_is_known_to_be_bad_on_this_card_is_passed_over() -> None:
    """GTX 16: float16 is computed wrongly, so float32 goes to int8_float32."""
    card = make_device(name="NVIDIA GeForce GTX 1660", compute_capability="7.5")
    machine = Machine(status=make_status(devices=(card,)))

    assert machine.degrade(DegradationStep(compute_type="float32", batch_size=1)) == DegradationStep(
        compute_type="int8_float32", batch_size=1
    )


@pytest.mark.parametrize(("strict", "level"), [(False, LIGHT), (True, None)])
def test_under_a_strict_matrix_only_known_good_formats_are_taken(
    strict: bool, level: DegradationStep | None
) -> None:
    """CTranslate2 9.9 is in no row of the table."""
    status = make_status(strict_matrix=strict)
    unknown = replace(status, ctranslate2=replace(status.ctranslate2, version="9.9.0"))

    assert Machine(status=unknown).degrade() == level
