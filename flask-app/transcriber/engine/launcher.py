"""How an engine comes up: its model, its device's compute type, its child process, and the tests it has to pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from ..domain.errors import ConfigError, EngineStartError, TranscriberError
from ..domain.ports import EngineInfo
from ..domain.selftest import SelfTestReport
from ..gpu.degradation_steps import DegradationStep
from ..gpu.environment import engine_environment
from ..gpu.memory_fallback import DegradationPolicy
from ..gpu.policy import choose_compute_type
from ..gpu.probe.facts import GpuDevice, GpuStatus
from ..models.catalogue import canonical_name, find_model
from ..models.finder import LocalModel
from ..system.durable_files import make_private
from .protocol import EngineConfig
from .selftest.admission_policy import AdmissionPolicy
from .selftest.references import ReferenceStore
from .slots import PooledEngine

logger = structlog.get_logger(__name__)


class StartedEngine(PooledEngine, Protocol):
    """An engine that has just come up."""

    @property
    def reference(self) -> dict[str, Any] | None:
        """What a CPU made of the self-test's clip, if the child had to find out."""
        ...


#: Starts a child with this configuration and environment. Raises EngineStartError.
StartChild = Callable[[EngineConfig, Mapping[str, str]], StartedEngine]


class LaunchListener(Protocol):
    """Receives how each start ended."""

    def admitted(self, info: EngineInfo, report: SelfTestReport) -> None: ...

    def refused(self, device: str, model: str, error: EngineStartError) -> None: ...


class StatusProbe(Protocol):
    """The look at the GPU: the newest one, and one that is taken if none is young enough."""

    @property
    def last(self) -> GpuStatus | None: ...

    def status(self) -> GpuStatus: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """What this installation wants of its engines. environ: the service's own variables; cache: for compiled kernels."""

    default_model: str
    gpu_compute_type: str
    cpu_compute_type: str
    batch_size: int
    cpu_threads: int
    cpu_lanes: int
    environ: Mapping[str, str]
    cache: Path


class EngineLauncher:
    """Starts engines, and remembers how the newest start for the default model ended on each device.

    Other models are not remembered: their names come from requests, and their faults are not the server's.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        find_model: Callable[[str], LocalModel],
        probe: StatusProbe,
        start_child: StartChild,
        references: ReferenceStore,
        admission: AdmissionPolicy,
        degradation_policy: DegradationPolicy,
    ) -> None:
        self._settings = settings
        self._find_model = find_model
        self._probe = probe
        self._start_child = start_child
        self._references = references
        self._admission = admission
        self._degradation_policy = degradation_policy
        self._default_model = canonical_name(settings.default_model)
        self._errors: dict[str, TranscriberError] = {}
        self._listener: LaunchListener | None = None

    def observe(self, listener: LaunchListener) -> None:
        """Notify this listener of all starts from now on."""
        self._listener = listener

    def launch(self, device: str, model: str) -> PooledEngine:
        """An engine that has proven itself. Raises EngineStartError, ModelNotFoundError."""
        try:
            engine = self._launch(device, model)
        except TranscriberError as error:
            failure = _as_start_error(error)
            self._note(device, model, failure)
            if isinstance(error, EngineStartError) and self._listener is not None:
                self._listener.refused(device, canonical_name(model), error)
            if failure is error:
                raise
            raise failure from error
        self._note(device, model, None)
        return engine

    def error(self, device: str) -> TranscriberError | None:
        """Why the newest start on this device failed; None if it succeeded or there was none."""
        return self._errors.get(device)

    def condemn(self, engine: EngineInfo, error: TranscriberError) -> None:
        """An engine that was up is unfit; until another one starts, this is the error of its device."""
        self._note(engine.device, engine.model, error)

    def compute_type(self, device: str) -> str:
        """What an engine is asked to compute in. A setting that does not fit is its start's error, not ours."""
        wanted = self._wanted_type(device)
        status = self._probe.last
        try:
            return _chosen(wanted, status.selected if status and device == "cuda" else None)
        except ConfigError:
            return wanted

    def _launch(self, device: str, name: str) -> PooledEngine:
        model, status = self._find_model(name), self._probe.status()
        compute_type = _chosen(self._wanted_type(device), status.selected if device == "cuda" else None)
        first = DegradationStep(compute_type=compute_type, batch_size=self._settings.batch_size)
        if device != "cuda":
            return self._start(device, model, status, first)
        return self._degradation_policy.start(
            model.name, first, lambda step: self._start(device, model, status, step)
        )

    def _start(
        self, device: str, model: LocalModel, status: GpuStatus, step: DegradationStep
    ) -> PooledEngine:
        """Start a child as this step of the degradation says, and have it admitted. Raises EngineStartError."""
        settings = self._settings
        with suppress(OSError):  # a later write reports it, or takes another folder
            make_private(settings.cache)
        environment = engine_environment(
            settings.environ, device=device, status=status, cache_dir=settings.cache
        )
        engine = self._start_child(self._config(device, model, status, step), environment)
        self._keep_reference(model, engine.reference)
        report = self._admission.admit(engine)
        if report is not None and self._listener is not None:
            self._listener.admitted(engine.info, report)
        return engine

    def _config(
        self, device: str, model: LocalModel, status: GpuStatus, step: DegradationStep
    ) -> EngineConfig:
        selected = status.selected if device == "cuda" else None
        return EngineConfig(
            model=model.name,
            model_path=model.path,
            device=device,
            device_index=0,  # CUDA_VISIBLE_DEVICES leaves the selected card alone
            device_name=selected.name if selected else None,
            device_uuid=selected.uuid if selected else None,
            compute_type=step.compute_type,
            cpu_threads=self._settings.cpu_threads,
            cpu_lanes=self._settings.cpu_lanes,
            batch_size=step.batch_size,
            libraries=status.cublas_paths if device == "cuda" else (),
            reference_path=self._references.find(model),
            knows_clip=find_model(model.name) is not None,
        )

    def _keep_reference(self, model: LocalModel, reference: Mapping[str, Any] | None) -> None:
        """Store what a CPU made of the clip, if the child had to find out; else the next start finds out anew."""
        if reference is None:
            return
        try:
            self._references.keep(model, reference)
        except TranscriberError as error:
            logger.warning("selftest_reference_not_saved", model=model.name, error=error.message)

    def _wanted_type(self, device: str) -> str:
        return self._settings.gpu_compute_type if device == "cuda" else self._settings.cpu_compute_type

    def _note(self, device: str, model: str, error: TranscriberError | None) -> None:
        if canonical_name(model) != self._default_model:
            return
        if error is None:
            self._errors.pop(device, None)
        else:
            self._errors[device] = error


def _chosen(wanted: str, selected: GpuDevice | None) -> str:
    """The compute type for this GPU, or for the CPU. Raises ConfigError."""
    return choose_compute_type(wanted, selected.compute_types if selected else (), selected)


def _as_start_error(error: TranscriberError) -> TranscriberError:
    """A setting that no engine can be started with is a start that failed."""
    if isinstance(error, ConfigError):
        return EngineStartError(error.message, code=error.code, fix=error.fix)
    return error
