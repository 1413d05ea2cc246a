"""How engines come up: by which model, compute type and configuration, and what is remembered of starts that fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import make_device, make_engine, make_status
from fake_ports import FakeClock
from tested_engines import TestableEngine, engine_of
from transcriber.domain.errors import (
    EngineCrashedError,
    EngineFailedError,
    EngineStartError,
    ModelNotFoundError,
    TranscriberError,
)
from transcriber.engine.launcher import EngineLauncher, EngineSettings
from transcriber.engine.protocol import EngineConfig
from transcriber.engine.selftest.admission_policy import AdmissionPolicy
from transcriber.engine.selftest.baseline import SpeedBaseline
from transcriber.engine.selftest.references import ReferenceStore
from transcriber.gpu.memory_fallback import DegradationPolicy
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.models.finder import LocalModel
from transcriber.system.durable_files import write_small

CRASH = EngineStartError("The engine child died.", code="engine_start_crashed", fix="Look.")
DAMAGED = EngineStartError("The weights are damaged.", code="model_damaged", fix="Fetch it again.")
NO_MEMORY = EngineStartError("No memory.", code="cuda_out_of_memory", fix="Use a smaller model.")


@dataclass
class HeldProbe:
    """A look at the GPU that sees what it is told."""

    last: GpuStatus

    def status(self) -> GpuStatus:
        return self.last


@dataclass
class Starts:
    """Children that come up as they are told, one after the other; the last one goes on. Listens to all starts."""

    engines: list[TestableEngine | TranscriberError]
    configs: list[EngineConfig] = field(default_factory=list)
    admissions: list[Any] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)

    def start(self, config: EngineConfig, environment: Mapping[str, str]) -> TestableEngine:
        self.configs.append(config)
        engine = self.engines.pop(0) if len(self.engines) > 1 else self.engines[0]
        if isinstance(engine, TranscriberError):
            raise engine
        return engine

    def admitted(self, info: Any, report: Any) -> None:
        self.admissions.append(info)

    def refused(self, device: str, model: str, error: EngineStartError) -> None:
        self.refusals.append((device, model, error.code))


@dataclass
class Launching:
    """A launcher over a folder, with what it starts."""

    folder: Path
    speeds: SpeedBaseline
    degradation_policy: DegradationPolicy
    status: GpuStatus = field(default_factory=make_status)

    def with_children(
        self, *engines: TestableEngine | TranscriberError, **changes: Any
    ) -> tuple[EngineLauncher, Starts]:
        starts = Starts(list(engines))
        values: dict[str, Any] = {
            "default_model": "Systran/faster-whisper-base",
            "gpu_compute_type": "float16",
            "cpu_compute_type": "int8",
            "batch_size": 8,
            "cpu_threads": 0,
            "cpu_lanes": 0,
            "environ": {},
            "cache": self.folder / "cache",
        }
        launcher = EngineLauncher(
            EngineSettings(**values | changes),
            find_model=self.find,
            probe=HeldProbe(self.status),
            start_child=starts.start,
            references=ReferenceStore(self.folder / "selftest", write_small),
            admission=AdmissionPolicy(self.speeds, timeout=1.0),
            degradation_policy=self.degradation_policy,
        )
        launcher.observe(starts)
        return launcher, starts

    def find(self, name: str) -> LocalModel:
        if name == "nonsuch":
            raise ModelNotFoundError()
        return LocalModel(
            name=name,
            path=self.folder / name,
            source="folder",
            repository=None,
            revision=None,
            verified=False,
            can_translate=True,
            size_bytes=1,
            is_english_only=False,
        )


@pytest.fixture
def launching(tmp_path: Path) -> Launching:
    policy = DegradationPolicy(clock=FakeClock(), status=make_status, read_gpu=lambda: None)
    return Launching(tmp_path, SpeedBaseline(tmp_path / "speeds.json", write_small), policy)


def slow(engine: TestableEngine) -> TestableEngine:
    """The same, whose test at the start was slow."""
    assert engine.info.selftest is not None
    engine.info = replace(engine.info, selftest=replace(engine.info.selftest, run_seconds=1.0))
    return engine


def test_engine_is_started_with_the_settings_of_its_device(launching: Launching) -> None:
    launcher, starts = launching.with_children(engine_of("cuda"), engine_of("cpu"))

    launcher.launch("cuda", "base")
    launcher.launch("cpu", "base")

    on_gpu, on_cpu = starts.configs
    assert (on_gpu.compute_type, on_gpu.device_uuid) == ("float16", launching.status.devices[0].uuid)
    assert (on_cpu.compute_type, on_cpu.device_uuid, on_cpu.libraries) == ("int8", None, ())
    assert [info.device for info in starts.admissions] == ["cuda", "cpu"]


def test_gpu_without_memory_gets_the_next_lighter_engine(launching: Launching) -> None:
    lighter = engine_of("cuda", compute_type="int8_float16")
    launcher, starts = launching.with_children(NO_MEMORY, lighter)

    assert launcher.launch("cuda", "base") is lighter
    assert [config.compute_type for config in starts.configs] == ["float16", "int8_float16"]
    assert (starts.refusals, launcher.error("cuda")) == ([], None)


def test_engine_without_room_for_its_second_test_is_followed_by_a_lighter_one(launching: Launching) -> None:
    first = engine_of()
    launcher, _ = launching.with_children(first)
    launcher.launch("cuda", "base")
    cramped, lighter = slow(engine_of("cuda", "memory")), engine_of("cuda", compute_type="int8_float16")
    launcher, starts = launching.with_children(cramped, lighter)

    assert launcher.launch("cuda", "base") is lighter
    assert (cramped.tests, cramped.closed, starts.refusals) == (1, 1, [])
    assert [step.code for step in launching.degradation_policy.steps("base")] == ["lighter_compute_type"]


def test_engine_that_is_slow_twice_is_refused(launching: Launching) -> None:
    launcher, _ = launching.with_children(engine_of())
    launcher.launch("cuda", "base")
    launcher, starts = launching.with_children(slow(engine_of("cuda", "slow")))

    with pytest.raises(EngineStartError) as caught:
        launcher.launch("cuda", "Systran/faster-whisper-base")

    assert (caught.value.code, bool(caught.value.fix)) == ("engine_too_slow", True)
    assert starts.refusals == [("cuda", "base", "engine_too_slow")]


def test_failed_start_of_the_default_model_is_remembered_for_its_device(launching: Launching) -> None:
    launcher, _ = launching.with_children(CRASH)

    with pytest.raises(EngineStartError):
        launcher.launch("cpu", "base")

    assert (launcher.error("cpu"), launcher.error("cuda")) == (CRASH, None)


def test_start_that_succeeds_forgets_the_one_that_failed(launching: Launching) -> None:
    launcher, _ = launching.with_children(CRASH, engine_of("cpu"))
    with pytest.raises(EngineStartError):
        launcher.launch("cpu", "base")

    launcher.launch("cpu", "base")

    assert launcher.error("cpu") is None


def test_engine_that_was_found_unfit_is_the_error_of_its_device(launching: Launching) -> None:
    launcher, _ = launching.with_children(CRASH)

    launcher.condemn(make_engine(device="cpu", model="base"), DAMAGED)
    launcher.condemn(make_engine(model="tiny.en"), CRASH)

    assert (launcher.error("cpu"), launcher.error("cuda")) == (DAMAGED, None)


def test_failed_start_of_another_model_is_not_the_server_s_fault(launching: Launching) -> None:
    launcher, starts = launching.with_children(CRASH)

    with pytest.raises(EngineStartError):
        launcher.launch("cpu", "tiny.en")

    assert launcher.error("cpu") is None
    assert starts.refusals == [("cpu", "tiny.en", "engine_start_crashed")]


def test_model_that_is_not_there_refuses_no_engine(launching: Launching) -> None:
    launcher, starts = launching.with_children(CRASH)

    with pytest.raises(ModelNotFoundError):
        launcher.launch("cpu", "nonsuch")

    assert (starts.configs, starts.refusals) == ([], [])


def test_compute_type_that_the_gpu_lacks_is_a_start_that_failed(launching: Launching) -> None:
    device = make_device(compute_types=("float16", "float32"))
    launching.status = make_status(devices=(device,), selected=device)
    launcher, starts = launching.with_children(CRASH, gpu_compute_type="bfloat16")

    with pytest.raises(EngineStartError, match="bfloat16") as caught:
        launcher.launch("cuda", "base")

    assert caught.value.code == "compute_type_unsupported"
    assert "WHISPER_GPU_COMPUTE_TYPE" in caught.value.fix
    assert (launcher.error("cuda"), starts.configs) == (caught.value, [])
    assert launcher.compute_type("cuda") == "bfloat16"


@pytest.mark.parametrize(
    "error",
    [EngineFailedError("Silent.", code="selftest_timeout", fix="Look."), EngineCrashedError("It died.")],
)
def test_engine_that_breaks_in_its_second_test_did_not_start(
    launching: Launching, error: TranscriberError
) -> None:
    launcher, _ = launching.with_children(engine_of())
    launcher.launch("cuda", "base")
    broken = slow(engine_of("cuda", error))
    launcher, _ = launching.with_children(broken)

    with pytest.raises(EngineStartError) as caught:
        launcher.launch("cuda", "base")

    assert (caught.value.code, broken.closed) == (error.code, 1)
