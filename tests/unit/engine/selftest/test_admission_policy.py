"""Admission: what a new engine must show before it is lent to anybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tested_engines import TestableEngine, engine_of
from transcriber.domain.errors import (
    EngineStartError,
    StorageFullError,
)
from transcriber.engine.selftest.admission_policy import AdmissionPolicy
from transcriber.engine.selftest.baseline import SpeedBaseline
from transcriber.system.durable_files import write_small


@pytest.fixture
def speeds(tmp_path: Path) -> SpeedBaseline:
    return SpeedBaseline(tmp_path / "speeds.json", write_small)


def admit(engine: TestableEngine, speeds: SpeedBaseline) -> TestableEngine:
    AdmissionPolicy(speeds, timeout=1.0).admit(engine)
    return engine


def slow(engine: TestableEngine) -> TestableEngine:
    """The same, whose test at the start was slow."""
    assert engine.info.selftest is not None
    engine.info = replace(engine.info, selftest=replace(engine.info.selftest, run_seconds=1.0))
    return engine


def test_first_engine_sets_the_speed_and_(speeds: SpeedBaseline) -> None:
    engine = engine_of()

    assert admit(engine, speeds) is engine
    assert speeds.find(engine.info) == 0.05
    assert (engine.tests, engine.closed) == (0, 0)


def test_slow_engine_is_tested_again_and_admitted_if_that_was_better(speeds: SpeedBaseline) -> None:
    admit(engine_of(), speeds)
    engine = slow(engine_of())

    assert admit(engine, speeds) is engine
    assert (engine.tests, engine.closed) == (1, 0)


def test_engine_that_is_slow_twice_is_ended_and_refused(speeds: SpeedBaseline) -> None:
    admit(engine_of(), speeds)
    engine = slow(engine_of("cuda", "slow"))

    with pytest.raises(EngineStartError) as caught:
        admit(engine, speeds)

    assert (caught.value.code, bool(caught.value.fix)) == ("engine_too_slow", True)
    assert (engine.tests, engine.closed) == (1, 1)
    assert caught.value.selftest is not None
    assert speeds.find(engine.info) == 0.05


def test_disk_that_is_full_keeps_no_speed_and_no_engine_out(tmp_path: Path) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise StorageFullError()

    engine = engine_of()

    assert admit(engine, SpeedBaseline(tmp_path / "speeds.json", refuse)) is engine
