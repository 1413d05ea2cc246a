"""From a configuration to a model that is fit to serve, or to the finding why it is not. Runs in the engine child."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....domain.selftest import SelfTestReport
from ..model.evidence import CudaDriver, open_driver
from ..model.whisper import ModelSpec, WhisperModel, supported_compute_types
from .device_checks import DeviceChecks
from .procedure import Expectation, SelfTest, SelfTestFailedError, complete
from .reference import Clip, Reference, load_clip, load_reference

if TYPE_CHECKING:
    from ...protocol import EngineConfig
    from ..shape import Shape

_LOGGER = logging.getLogger("transcriber.engine")

#: In this format a CPU makes the reference for a model that has none: a quarter of float32's memory.
_REFERENCE_TYPE = "int8_float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proven:
    """A model that passed. reference: one that was made on the CPU meanwhile and is worth keeping."""

    model: WhisperModel
    test: SelfTest
    report: SelfTestReport
    driver: CudaDriver | None
    reference: Reference | None


def prove(config: EngineConfig, shape: Shape) -> Proven:
    """Load the model and test it. Raises SelfTestFailedError, FaultError, or what CTranslate2 raises."""
    checks = DeviceChecks(
        device=config.device,
        compute_types=lambda: supported_compute_types(config.device, config.device_index),
        open_driver=lambda: open_driver(config.device, config.device_index),
        libraries=config.libraries,
    )
    _check_device(checks, config.compute_type)
    model = WhisperModel(_spec(config, threads=shape.threads, workers=shape.lanes.total))
    clip = load_clip()
    known = load_reference(config.reference_path, clip) if config.reference_path else None
    made = _make_reference(config, shape, clip) if known is None and config.device == "cuda" else None
    expectation = Expectation(model=config.model, knows_clip=config.knows_clip, reference=known or made)
    test = SelfTest(model=model, device=config.device, checks=checks, clip=clip, expectation=expectation)
    report = test.run(is_cold=True)
    if not report.passed:
        raise SelfTestFailedError(report)
    own = test.reference if known is None else None
    return Proven(model=model, test=test, report=report, driver=checks.driver, reference=made or own)


def _check_device(checks: DeviceChecks, compute_type: str) -> None:
    """Before the model is loaded, whose own words on a missing device or library say less."""
    steps = [checks.visible()]
    if steps[0].code is None:
        steps.append(checks.usable())
    if steps[-1].code is not None:
        seconds = sum(step.seconds for step in steps)
        raise SelfTestFailedError(
            SelfTestReport(
                device="unknown", compute_type=compute_type, steps=complete(steps), seconds=seconds
            )
        )


def _make_reference(config: EngineConfig, shape: Shape, clip: Clip) -> Reference | None:
    """What the CPU makes of the clip with these weights; None where it can't, which is no fault of the GPU's."""
    try:
        return _ask_cpu(config, shape, clip)
    except Exception:  # noqa: BLE001 - a second opinion's boundary: without it, the test says that there is none
        _LOGGER.exception("reference_not_made model=%s", config.model)
        return None


def _ask_cpu(config: EngineConfig, shape: Shape, clip: Clip) -> Reference | None:
    on_cpu = replace(config, device="cpu", compute_type=_REFERENCE_TYPE)
    model = WhisperModel(_spec(on_cpu, threads=shape.threads, workers=1))
    checks = DeviceChecks(device="cpu", compute_types=tuple, open_driver=lambda: None, libraries=())
    expectation = Expectation(model=config.model, knows_clip=config.knows_clip)
    test = SelfTest(model=model, device="cpu", checks=checks, clip=clip, expectation=expectation)
    test.run()
    return test.reference


def _spec(config: EngineConfig, *, threads: int, workers: int) -> ModelSpec:
    return ModelSpec(
        path=Path(config.model_path),
        device=config.device,
        device_index=config.device_index,
        compute_type=config.compute_type,
        cpu_threads=threads,
        num_workers=workers,
    )
