"""The half of the composition root that engines are made of: models, the GPU's probe, the proofs, the pool.

Like bootstrap, it chooses concrete classes and reads settings; nobody else does.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .. import __version__
from ..config.schema import Settings
from ..domain.errors import ConfigError
from ..engine.client import ChildEngine, EngineConfig
from ..engine.pool import ChildEnginePool, PooledEngine
from ..gpu.degradation_steps import DegradationStep
from ..gpu.environment import engine_environment
from ..gpu.memory_fallback import DegradationPolicy
from ..gpu.monitor import GpuMonitor, ask_nvml
from ..gpu.policy import choose_compute_type
from ..gpu.probe.facts import GpuDevice, GpuStatus
from ..models.catalogue import canonical_name, find_model
from ..models.downloads import Downloads
from ..models.finder import LocalModel, ModelFinder
from ..models.hub import fetch_snapshot, hub_cache
from ..models.memory_budget import DeviceBudget, MemoryBudget
from ..models.packaged import MEMORY_NAME
from ..models.verification import Verifier
from ..observability.metrics import Metrics
from ..service.model_manager import HubAccess, ModelManager
from ..service.readiness import DefaultModel, EngineStarts
from ..system.clock import SystemClock
from ..system.durable_files import make_private, write_small
from ..system.memory import automatic_budget, memory_limit, resident_bytes
from ..system.threads import InThread
from .bootstrap_selftest import SelfTestLimits, SelfTests
from .preflight import make_probe

T = TypeVar("T")


def models_dir(home: Path) -> Path:
    """Where models are put in place."""
    return home / "models"


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
        self.proofs = SelfTests(
            folder=home / "selftest",
            write=lambda path, data: in_thread(lambda: write_small(path, data)),
            clock=clock,
            limits=SelfTestLimits(
                interval=settings.selftest_interval_seconds, timeout=settings.selftest_timeout_seconds
            ),
            metrics=self.metrics,
        )
        self.starts = EngineStarts(self.proofs.admission.watching(self._launch), self.default_model.name)
        self._memory = self._make_memory()
        self.engines = ChildEnginePool(
            launch=self.starts.launch,
            max_engines=settings.max_engines,
            clock=clock,
            memory=self._memory,
            ttl=settings.model_ttl,
        )
        self.canary = self.proofs.canary(
            self.engines,
            self.starts,
            lambda engine: self.degradation_policy.degrade_from_test(engine, settings.batch_size),
        )
        self.model_manager = self._make_model_manager()

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
            compute_type=self._compute_type,
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

    def _compute_type(self, device: str) -> str:
        """What an engine there is asked to compute in; a setting that does not fit is its start's error, not ours."""
        settings, selected = self._settings, self._selected() if device == "cuda" else None
        wanted = settings.gpu_compute_type if device == "cuda" else settings.cpu_compute_type
        try:
            return choose_compute_type(wanted, selected.compute_types if selected else (), selected)
        except ConfigError:
            return wanted

    def _selected(self) -> GpuDevice | None:
        """The GPU in use, as the newest probe knows it."""
        status = self.probe.last
        return status.selected if status else None

    def _launch(self, device: str, model_name: str) -> ChildEngine:
        """Start an engine child for this device and model. Raises EngineStartError, ModelNotFoundError, ConfigError."""
        settings = self._settings
        model = self.models.find(model_name)
        status = self.probe.status()
        selected = status.selected if device == "cuda" else None
        wanted = settings.gpu_compute_type if device == "cuda" else settings.cpu_compute_type
        supported = selected.compute_types if selected else ()
        compute_type = choose_compute_type(wanted, supported, selected)
        first = DegradationStep(compute_type=compute_type, batch_size=settings.batch_size)
        if device != "cuda":
            return self._start_engine(device, model, status, first)
        return self.degradation_policy.start(
            model.name, first, lambda level: self._start_engine(device, model, status, level)
        )

    def _start_engine(
        self, device: str, model: LocalModel, status: GpuStatus, level: DegradationStep
    ) -> ChildEngine:
        """Start a child as this level of the ladder says, and admit it."""
        settings = self._settings
        selected = status.selected if device == "cuda" else None
        cache = self._home / "cache"
        with suppress(OSError):  # whoever writes there says what is wrong, or takes another folder
            make_private(cache)
        engine = ChildEngine.start(
            EngineConfig(
                model=model.name,
                model_path=model.path,
                device=device,
                device_index=0,  # CUDA_VISIBLE_DEVICES leaves the selected card alone
                device_name=selected.name if selected else None,
                device_uuid=selected.uuid if selected else None,
                compute_type=level.compute_type,
                cpu_threads=settings.cpu_threads,
                cpu_lanes=settings.cpu_lanes,
                batch_size=level.batch_size,
                libraries=status.cublas_paths if device == "cuda" else (),
                reference_path=self.proofs.references.find(model),
                knows_clip=find_model(model.name) is not None,
            ),
            engine_environment(self._environ, device=device, status=status, cache_dir=cache),
            clock=self._clock,
            start_timeout=settings.engine_start_timeout_seconds,
            command=settings.engine_command,
            stall_timeout=settings.engine_stall_seconds,
            on_batch=self.metrics.observe_batches,
        )
        self.proofs.keep_reference(model, engine.reference)
        return self.proofs.admission.admit(engine)


def _free_bytes(folder: Path, reserve: int) -> int | None:
    """Of the disk that this folder is on, or will be."""
    place = next((each for each in (folder, *folder.parents) if each.exists()), None)
    return None if place is None else shutil.disk_usage(place).free - reserve
