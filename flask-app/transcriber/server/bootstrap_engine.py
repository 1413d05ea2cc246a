"""The half of the composition root that engines are made of: models, the GPU's probe, the proofs, the pool.

Like bootstrap, it chooses concrete classes and reads settings; no other module does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from .. import __version__
from ..config.schema import Settings
from ..domain.errors import EngineStartError, TranscriberError
from ..engine.client import ChildEngine, EngineConfig
from ..engine.launcher import EngineLauncher, EngineSettings
from ..engine.pool import ChildEnginePool, PooledEngine
from ..engine.selftest.admission_policy import AdmissionPolicy
from ..engine.selftest.baseline import SpeedBaseline
from ..engine.selftest.health_check import HealthCheck, HealthFinding, HealthListeners
from ..engine.selftest.references import ReferenceStore
from ..gpu.memory_fallback import DegradationPolicy
from ..gpu.monitor import GpuMonitor, ask_nvml
from ..gpu.probe.facts import GpuDevice
from ..gpu.probe.launcher import GpuProbe
from ..models.catalogue import canonical_name, find_model
from ..models.downloads import Downloads
from ..models.finder import ModelFinder
from ..models.hub import fetch_snapshot, hub_cache
from ..models.memory_budget import DeviceBudget, MemoryBudget
from ..models.packaged import MEMORY_NAME
from ..models.verification import Verifier
from ..observability.metrics import Metrics
from ..service.model_manager import HubAccess, ModelManager
from ..service.readiness import DefaultModel
from ..system.clock import SystemClock
from ..system.durable_files import write_small
from ..system.memory import automatic_budget, memory_limit, resident_bytes
from ..system.threads import InThread
from .preflight import make_probe

T = TypeVar("T")


def models_dir(home: Path) -> Path:
    """Where models are put in place."""
    return home / "models"


#: Makes what looks at the GPU; a test's machine has one of its own.
MakeProbe = Callable[[Settings, Mapping[str, str], SystemClock], GpuProbe]


class EngineParts:
    """The parts, each made once. `home`: where models and caches are."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        home: Path,
        clock: SystemClock,
        in_thread: InThread,
        make_probe: MakeProbe = make_probe,
    ) -> None:
        self._settings = settings
        self._home = home
        self._environ = dict(environ)
        self._clock = clock
        self._in_thread = in_thread
        self._cache = hub_cache(environ)
        self._downloads = self._make_downloads()
        model_path = self._model_path()
        self.models = ModelFinder(
            model_path,
            models_dir(home),
            settings.model_download,
            self._cache,
            in_thread=in_thread,
            fetch=self._downloads.fetch,
        )
        self.default_model = DefaultModel(
            self.models.path_name or settings.model,
            self.models,
            model_path=model_path,
            may_download=settings.model_download,
        )
        self.probe = make_probe(settings, environ, clock)
        self.monitor = GpuMonitor(
            selected=self._selected, ask=lambda device: ask_nvml(device, self._environ), clock=clock
        )
        self.degradation_policy = DegradationPolicy(
            clock=clock, status=lambda: self.probe.last, read_gpu=self.monitor.read
        )
        self.metrics = Metrics(version=__version__, clock=clock)
        selftests, speeds = self._make_baselines()
        self.launcher = EngineLauncher(
            EngineSettings(
                default_model=self.default_model.name,
                gpu_compute_type=settings.gpu_compute_type,
                cpu_compute_type=settings.cpu_compute_type,
                batch_size=settings.batch_size,
                cpu_threads=settings.cpu_threads,
                cpu_lanes=settings.cpu_lanes,
                environ=self._environ,
                cache=home / "cache",
            ),
            find_model=self.models.find,
            probe=self.probe,
            start_child=self._start_child,
            references=selftests,
            admission=AdmissionPolicy(speeds, settings.selftest_timeout_seconds),
            degradation_policy=self.degradation_policy,
        )
        self._memory = self._make_memory()
        self.engines = ChildEnginePool(
            launch=self.launcher.launch,
            max_engines=settings.max_engines,
            clock=clock,
            memory=self._memory,
            ttl=settings.model_ttl,
        )
        self.canary = self._make_canary(speeds)
        self.launcher.observe(self.canary)
        self.model_manager = self._make_model_manager()

    def find_start_error(self, device: str) -> TranscriberError | None:
        """Why requests that name no model get no engine on this device: it never fits, or its newest start failed."""
        try:
            self._memory.check(device, self.default_model.name)
        except EngineStartError as error:
            return error
        return self.launcher.error(device)

    def engines_of(self, model: str) -> tuple[PooledEngine, ...]:
        """The engines of this model that are up, the GPU's first; nobody borrows them."""
        found = [engine for engine in self.engines.engines() if canonical_name(engine.info.model) == model]
        return tuple(sorted(found, key=lambda engine: engine.info.device != "cuda"))

    def _model_path(self) -> Path | None:
        """WHISPER_MODEL, where it is a folder; else WHISPER_MODEL_PATH."""
        settings = self._settings
        named = Path(settings.model).expanduser() if "/" in settings.model else None
        return named.resolve() if named is not None and named.is_dir() else settings.model_path

    def _make_downloads(self) -> Downloads:
        return Downloads(
            fetch=fetch_snapshot,
            verifier=Verifier(models_dir(self._home) / MEMORY_NAME),
            in_thread=self._in_thread,
            clock=self._clock,
            free_bytes=lambda folder: _free_bytes(folder, self._settings.disk_reserve_bytes),
        )

    def _make_memory(self) -> MemoryBudget:
        given = self._settings.memory_budget_bytes
        return MemoryBudget(
            DeviceBudget(
                cpu_bytes=given or automatic_budget(memory_limit()),
                is_set=bool(given),
                gpu_bytes=lambda: device.memory_bytes if (device := self._selected()) else None,
            ),
            compute_type=self.launcher.compute_type,
            batch_size=self._settings.batch_size,
            weights_bytes=self.models.size_of,
        )

    def _make_model_manager(self) -> ModelManager:
        return ModelManager(
            finder=self.models,
            engines=self.engines,
            memory=self._memory,
            hub=HubAccess(
                downloads=self._downloads,
                cache=self._cache,
                row=find_model,
                may_download=self._settings.model_download,
            ),
            default_model=self.default_model.name,
            resident=resident_bytes,
        )

    def _selected(self) -> GpuDevice | None:
        """The GPU in use, as the newest probe knows it."""
        status = self.probe.last
        return status.selected if status else None

    def _make_baselines(self) -> tuple[ReferenceStore, SpeedBaseline]:
        """The small files that self-tests go by."""
        folder = self._home / "selftest"

        def write(path: Path, data: bytes) -> None:
            self._in_thread(lambda: write_small(path, data))

        return ReferenceStore(folder, write), SpeedBaseline(folder / "speeds.json", write)

    def _make_canary(self, speeds: SpeedBaseline) -> HealthCheck:
        def observe(device: str, finding: HealthFinding, stands: bool) -> None:
            self.metrics.set_canary(finding.outcome, finding.seconds, device=device, stands=stands)

        return HealthCheck(
            engines=self.engines,
            speeds=speeds,
            clock=self._clock,
            interval=self._settings.selftest_interval_seconds,
            timeout=self._settings.selftest_timeout_seconds,
            tell=HealthListeners(
                observe=observe,
                condemned=self.launcher.condemn,
                has_no_room=lambda engine: self.degradation_policy.degrade_from_test(
                    engine, self._settings.batch_size
                ),
            ),
        )

    def _start_child(self, config: EngineConfig, environment: Mapping[str, str]) -> ChildEngine:
        return ChildEngine.start(
            config,
            environment,
            clock=self._clock,
            start_timeout=self._settings.engine_start_timeout_seconds,
            command=self._settings.engine_command,
            stall_timeout=self._settings.engine_stall_seconds,
            on_batch=self.metrics.observe_batches,
        )


def _free_bytes(folder: Path, reserve: int) -> int | None:
    """Of the disk that this folder is on, or will be."""
    place = next((each for each in (folder, *folder.parents) if each.exists()), None)
    return None if place is None else shutil.disk_usage(place).free - reserve
