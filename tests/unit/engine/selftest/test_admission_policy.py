"""Admission: what a new engine must show before it is lent to anybody."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import make_status
from fake_ports import FakeClock
from tested_engines import TestableEngine, engine_of
from transcriber.domain.errors import (
    EngineCrashedError,
    EngineFailedError,
    EngineStartError,
    ModelNotFoundError,
    StorageFullError,
    TranscriberError,
)
from transcriber.engine.pool import PooledEngine
from transcriber.engine.selftest.admission_policy import AdmissionPolicy
from transcriber.engine.selftest.baseline import SpeedBaseline
from transcriber.gpu.degradation_steps import DegradationStep
from transcriber.gpu.memory_fallback import DegradationPolicy
from transcriber.system.durable_files import write_small


@dataclass
class Register:
    admissions: list[Any] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)

    def admitted(self, info: Any, report: Any) -> None:
        self.admissions.append((info, report))

    def refused(self, device: str, model: str, error: EngineStartError) -> None:
        self.refusals.append((device, model, error.code))


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def speeds(tmp_path: Path) -> SpeedBaseline:
    return SpeedBaseline(tmp_path / "speeds.json", write_small)


def admit(
    engine: TestableEngine | TranscriberError, speeds: SpeedBaseline, register: Register
) -> PooledEngine:
    def launch(device: str, model: str) -> Any:
        if isinstance(engine, TranscriberError):
            raise engine
        return engine

    admission = AdmissionPolicy(speeds, register, timeout=1.0)
    watched = admission.watching(lambda device, model: admission.admit(launch(device, model)))
    return watched("cuda", "Systran/faster-whisper-base")


def slow(engine: TestableEngine) -> TestableEngine:
    """The same, whose test at the start was slow."""
    assert engine.info.selftest is not None
    engine.info = replace(engine.info, selftest=replace(engine.info.selftest, run_seconds=1.0))
    return engine


def test_first_engine_sets_the_speed_and_is_registered(speeds: SpeedBaseline, register: Register) -> None:
    engine = engine_of()

    assert admit(engine, speeds, register) is engine
    assert speeds.find(engine.info) == 0.05
    assert [info for info, _ in register.admissions] == [engine.info]
    assert (engine.tests, engine.closed) == (0, 0)


def test_slow_engine_is_tested_again_and_admitted_if_that_was_better(
    speeds: SpeedBaseline, register: Register
) -> None:
    admit(engine_of(), speeds, register)
    engine = slow(engine_of())

    assert admit(engine, speeds, register) is engine
    assert (engine.tests, engine.closed) == (1, 0)


def test_engine_that_is_slow_twice_is_ended_and_refused(speeds: SpeedBaseline, register: Register) -> None:
    admit(engine_of(), speeds, register)
    engine = slow(engine_of("cuda", "slow"))

    with pytest.raises(EngineStartError) as caught:
        admit(engine, speeds, register)

    assert (caught.value.code, bool(caught.value.fix)) == ("engine_too_slow", True)
    assert (engine.tests, engine.closed) == (1, 1)
    assert register.refusals == [("cuda", "base", "engine_too_slow")]
    assert caught.value.selftest is not None
    assert speeds.find(engine.info) == 0.05


@pytest.mark.parametrize(
    "error",
    [
        EngineFailedError("Silent.", code="selftest_timeout", fix="Look."),
        EngineCrashedError("It died."),
    ],
)
def test_engine_that_breaks_in_its_second_test_did_not_start(
    speeds: SpeedBaseline, register: Register, error: TranscriberError
) -> None:
    admit(engine_of(), speeds, register)
    engine = slow(engine_of("cuda", error))

    with pytest.raises(EngineStartError) as caught:
        admit(engine, speeds, register)

    assert (caught.value.code, engine.closed) == (error.code, 1)


def test_start_that_failed_is_registered_and_passed_on(speeds: SpeedBaseline, register: Register) -> None:
    with pytest.raises(EngineStartError):
        admit(EngineStartError("Numbers.", code="numbers_differ"), speeds, register)
    with pytest.raises(ModelNotFoundError):
        admit(ModelNotFoundError(), speeds, register)

    assert register.refusals == [("cuda", "base", "numbers_differ")]


def test_disk_that_is_full_keeps_no_speed_and_no_engine_out(tmp_path: Path, register: Register) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise StorageFullError()

    engine = engine_of()

    assert admit(engine, SpeedBaseline(tmp_path / "speeds.json", refuse), register) is engine


def test_engine_without_room_for_its_second_test_is_followed_by_a_lighter_one(
    speeds: SpeedBaseline, register: Register
) -> None:
    admit(engine_of(), speeds, register)
    admission = AdmissionPolicy(speeds, register, timeout=1.0)
    degradation_policy = DegradationPolicy(clock=FakeClock(), status=make_status, read_gpu=lambda: None)
    engines = {
        "float16": slow(engine_of("cuda", "memory")),
        "int8_float16": engine_of("cuda", compute_type="int8_float16"),
    }

    def start(level: DegradationStep) -> TestableEngine:
        return admission.admit(engines[level.compute_type])

    admitted = degradation_policy.start("base", DegradationStep(compute_type="float16", batch_size=8), start)

    assert admitted is engines["int8_float16"]
    assert (engines["float16"].tests, engines["float16"].closed) == (1, 1)
    assert [step.code for step in degradation_policy.steps("base")] == ["lighter_compute_type"]
    assert register.refusals == []
