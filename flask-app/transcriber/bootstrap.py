"""The composition root: the only place where concrete classes are chosen and settings are read."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from . import __version__, config
from .application import Application, Parts
from .clock import SystemClock
from .config import Settings
from .diagnostics import Diagnostics, Sources, collect, find_versions
from .domain.jobs import Webhook
from .domain.transcript import FallbackReason
from .engine.catalogue import canonical_name, find_model
from .engine.client import ChildEngine, EngineConfig
from .engine.hub import hub_cache
from .engine.models import LocalModel, ModelFinder
from .engine.packaged import KNOWN, place
from .engine.pool import ChildEnginePool
from .gpu.drift import diff
from .gpu.environment import engine_environment
from .gpu.facts import GpuDevice, GpuStatus
from .gpu.ladder import Rung
from .gpu.monitor import GpuMonitor, ask_nvml, refreshed
from .gpu.policy import GpuSituation, choose_compute_type
from .gpu.relief import Relief
from .gpu.snapshot import UNVERIFIED, Snapshot, take
from .gpu.snapshot_store import SnapshotStore
from .gpu.witness import look_at
from .jobs.durable import find_folder_fault, kept_secret, write_small
from .jobs.journal import boot_id
from .jobs.output import OutputFolder
from .jobs.results import FileResultStore
from .jobs.retention import Retention
from .jobs.runner import Slots
from .jobs.speeds import Speeds, load_speeds, save_speeds
from .jobs.spool import Spool
from .jobs.sqlite_store import SqliteJobStore
from .logs import configure_logging
from .media.decoder import SandboxedDecoder
from .metrics import Metrics
from .native import NativeExecutor
from .proofs import Proofs, SelfTestLimits
from .service import Checks, Limits, Service, Storage, Webhooks
from .serving import DefaultModel, Starts, find_fault, reason_of
from .startup import make_probe
from .transcribing import DevicePlan, Transcriber
from .webhooks.dispatcher import Dispatcher
from .webhooks.guard import Guard
from .webhooks.ids import new_delivery_id
from .webhooks.payload import make_delivery
from .webhooks.sender import HttpSender
from .webhooks.signing import check_secret

__all__ = ["Application", "Embedded", "build", "build_embedded", "examine", "models_of", "place_models"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Jobs that one command may have waiting, whatever the installation's queue takes.
EMBEDDED_QUEUE = 100


def build(environ: Mapping[str, str]) -> Application:
    """The service, assembled but not started. Raises ConfigError."""
    settings = config.load(environ)
    config.check_listening(settings)
    configure_logging(settings.log_level)
    return Composition(settings, environ).application()


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A service for one command, and whether the installation's policy requires the GPU for all it does."""

    application: Application
    requires_gpu: bool


def build_embedded(environ: Mapping[str, str], folder: Path) -> Embedded:
    """The service without a server: its jobs in `folder`, with the installation's models and caches.

    A required GPU is left to each job, so that one that is missing is an error and not the end of the process.
    Raises ConfigError.
    """
    settings = config.load(environ)
    configure_logging(settings.log_level if "log_level" in settings.sources else "error")
    requires_gpu = settings.gpu_policy == "required"
    own = replace(
        settings,
        data_dir=folder,
        output_dir=None,
        engine_start="lazy",
        max_queue=max(settings.max_queue, EMBEDDED_QUEUE),
        gpu_policy="preferred" if requires_gpu else settings.gpu_policy,
    )
    composition = Composition(own, environ, home=settings.data_dir)
    return Embedded(application=composition.application(), requires_gpu=requires_gpu)


def examine(environ: Mapping[str, str]) -> Diagnostics:
    """Diagnostics of this installation without starting or locking anything. Raises ConfigError."""
    settings = config.load(environ)
    configure_logging("error")
    composition = Composition(settings, environ)
    situation = GpuSituation(
        policy=settings.gpu_policy, status=composition.probe.status(), wants_gpu=settings.default_use_gpu
    )
    return composition.diagnose(situation, composition.find_faults_at_rest())


def models_of(environ: Mapping[str, str]) -> ModelFinder:
    """The models of this installation."""
    return Composition(config.load(environ), environ).models


def place_models(environ: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Put packaged models (all that are installed, if no names are given) into the models folder."""
    settings = config.load(environ)
    wanted = list(names) or list(KNOWN.carried())
    place(wanted, models_dir(settings.data_dir))
    return wanted


def models_dir(home: Path) -> Path:
    """Where models are put in place."""
    return home / "models"


class Composition:
    """The parts of one installation, each made once. `home`: where its models and caches are, if not with its data."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], home: Path | None = None) -> None:
        self._settings = settings
        self._home = home or settings.data_dir
        self._environ = dict(environ)
        self._clock = SystemClock()
        self._files = NativeExecutor(4)
        named_path = Path(settings.model).expanduser() if "/" in settings.model else None
        is_path = named_path is not None and named_path.is_dir()
        model_path = named_path.resolve() if named_path is not None and is_path else settings.model_path
        self.models = ModelFinder(
            model_path,
            models_dir(self._home),
            settings.model_download,
            hub_cache(environ),
            in_thread=self._in_thread,
        )
        self.default_model = DefaultModel(
            self.models.path_name or settings.model,
            self.models,
            model_path=model_path,
            may_download=settings.model_download,
        )
        self.probe = make_probe(settings, environ, self._clock)
        self._snapshots = SnapshotStore(settings.data_dir / "snapshots")
        self._last_start: Snapshot | None = None
        self.monitor = GpuMonitor(
            selected=self._selected, ask=lambda device: ask_nvml(device, self._environ), clock=self._clock
        )
        self.relief = Relief(clock=self._clock, status=lambda: self.probe.last, read_gpu=self.monitor.read)
        self.metrics = Metrics(version=__version__, clock=self._clock)
        self.proofs = Proofs(
            folder=self._home / "selftest",
            write=lambda path, data: self._in_thread(lambda: write_small(path, data)),
            clock=self._clock,
            limits=SelfTestLimits(
                interval=settings.selftest_interval_seconds, timeout=settings.selftest_timeout_seconds
            ),
            metrics=self.metrics,
        )
        self.starts = Starts(self.proofs.admitting(self._launch), self.default_model.name)
        self.engines = ChildEnginePool(
            launch=self.starts.launch, max_engines=settings.max_engines, clock=self._clock
        )
        self.canary = self.proofs.canary(
            self.engines,
            self.starts,
            lambda engine: self.relief.climb_from_test(engine, settings.batch_size),
        )
        self.decoder = SandboxedDecoder(
            max_audio_seconds=settings.max_audio_seconds, timeout_seconds=settings.decode_timeout_seconds
        )

    def application(self) -> Application:
        """The service with its store opened."""
        settings = self._settings
        store = SqliteJobStore(settings.data_dir / "jobs.sqlite3", NativeExecutor(1))
        storage = self._storage(store)
        guard = Guard(settings.webhook_allow_cidr)
        dispatcher = Dispatcher(
            storage.outbox, HttpSender(guard, version=__version__), self._clock, random.Random()
        )
        speeds_path = settings.data_dir / "speeds.json"
        speeds = Speeds(self._clock, load_speeds(speeds_path))
        transcriber = self._transcriber()
        service = Service(
            storage=storage,
            checks=Checks(
                models=self.models,
                decide=transcriber.decide,
                webhook=lambda webhook: check_webhook(guard, webhook),
            ),
            transcriber=transcriber,
            webhooks=Webhooks(
                make_delivery=lambda job, answer, now: make_delivery(job, answer, now, new_delivery_id),
                wake=dispatcher.wake,
            ),
            speeds=speeds,
            limits=limits_of(settings),
            clock=self._clock,
        )
        parts = Parts(
            probe=self.probe,
            engines=self.engines,
            decoder=self.decoder,
            retention=storage.retention,
            dispatcher=dispatcher,
            save_speeds=lambda: self._in_thread(lambda: save_speeds(speeds_path, speeds.known())),
            stores=(store,),
            record_start=self.record_start,
            clock=self._clock,
            canary=self.canary,
            monitor=self.monitor,
            session_secret=self._in_thread(lambda: kept_secret(settings.data_dir / "session.key")),
        )
        return Application(
            settings=settings,
            default_model=self.default_model.name,
            service=service,
            parts=parts,
            find_fault=self.find_fault,
            diagnose=lambda situation, problems: self.diagnose(situation, problems, service),
            metrics=self.metrics,
        )

    def _storage(self, store: SqliteJobStore) -> Storage:
        """The store's files, and how long each kind is kept."""
        settings = self._settings
        results = FileResultStore(settings.data_dir / "results")
        spool = Spool(settings.data_dir / "spool", settings.disk_reserve_bytes)
        return Storage(
            jobs=store,
            outbox=store.outbox,
            transcripts=store.transcripts,
            results=results,
            spool=spool,
            output=OutputFolder(settings.output_dir) if settings.output_dir else None,
            retention=Retention(
                store=store,
                results=results,
                spool=spool,
                clock=self._clock,
                native=self._files,
                keep_uploads=timedelta(hours=settings.keep_uploads_hours),
                keep_results=timedelta(days=settings.keep_results_days),
                disk_budget_bytes=settings.disk_budget_bytes or None,
                keep_unfinished=timedelta(hours=settings.keep_unfinished_hours),
            ),
            native=self._files,
        )

    def find_fault(self, situation: GpuSituation) -> FallbackReason | None:
        """Why this service takes no work."""
        starts = find_fault(situation, self.starts.error, self.default_model.name)
        return starts or self.default_model.fault(verifies=True)

    def find_faults_at_rest(self) -> tuple[FallbackReason, ...]:
        """Why a service of this installation would take no work; changes nothing to find out."""
        folder = find_folder_fault(self._settings.data_dir, "WHISPER_DATA_DIR")
        found = (self.default_model.fault(verifies=False), reason_of(folder) if folder else None)
        return tuple(fault for fault in found if fault is not None)

    def diagnose(
        self, situation: GpuSituation, problems: tuple[FallbackReason, ...], service: Service | None = None
    ) -> Diagnostics:
        """Assemble the diagnostics; `service` None: of an installation that is not running here."""
        self.monitor.nudge()
        situation = replace(situation, status=refreshed(situation.status, self.monitor.newest))
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
                problems=problems,
                snapshot=snapshot,
                changes=diff(before, snapshot) if before else (),
                model=canonical_name(self.default_model.name),
                batch_size=self._settings.batch_size,
                selftests=self.canary.facts(),
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

    def _transcriber(self) -> Transcriber:
        return Transcriber(
            decoder=self.decoder,
            engines=self.engines,
            gpu_status=lambda: self.probe.last or self.probe.status(),
            devices=DevicePlan(
                policy=self._settings.gpu_policy,
                gpu_compute_type=self._settings.gpu_compute_type,
                cpu_compute_type=self._settings.cpu_compute_type,
                relief=self.relief,
                witness=lambda engine: look_at(engine, self.probe.last, self.monitor.word_on),
                expect=self.monitor.nudge,
            ),
            clock=self._clock,
            boot_id=boot_id(),
        )

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
        first = Rung(compute_type=compute_type, batch_size=settings.batch_size)
        if device != "cuda":
            return self._start_engine(device, model, status, first)
        return self.relief.start(
            model.name, first, lambda rung: self._start_engine(device, model, status, rung)
        )

    def _start_engine(self, device: str, model: LocalModel, status: GpuStatus, rung: Rung) -> ChildEngine:
        """Start a child as this rung of the ladder says."""
        settings = self._settings
        selected = status.selected if device == "cuda" else None
        engine = ChildEngine.start(
            EngineConfig(
                model=model.name,
                model_path=model.path,
                device=device,
                device_index=0,  # CUDA_VISIBLE_DEVICES leaves the selected card alone
                device_name=selected.name if selected else None,
                device_uuid=selected.uuid if selected else None,
                compute_type=rung.compute_type,
                cpu_threads=settings.cpu_threads,
                cpu_lanes=settings.cpu_lanes,
                batch_size=rung.batch_size,
                libraries=status.cublas_paths if device == "cuda" else (),
                reference_path=self.proofs.references.find(model),
                knows_clip=find_model(model.name) is not None,
            ),
            engine_environment(self._environ, device=device, status=status, cache_dir=self._home / "cache"),
            clock=self._clock,
            start_timeout=settings.engine_start_timeout_seconds,
            command=settings.engine_command,
            stall_timeout=settings.engine_stall_seconds,
            on_batch=self.metrics.observe_batches,
        )
        self.proofs.keep_reference(model, engine.reference)
        return engine

    def _in_thread(self, work: Callable[[], T], /) -> T:
        return self._files.submit(work).result()


def limits_of(settings: Settings) -> Limits:
    """How much is worked on at once, and for how long."""
    has_lane = settings.short_seconds > 0
    return Limits(
        slots=Slots(
            long=settings.max_running,
            short=settings.short_slots if has_lane else 0,
            max_queue=settings.max_queue,
        ),
        short_seconds=settings.short_seconds,
        job_timeout_seconds=settings.job_timeout_seconds,
    )


def check_webhook(guard: Guard, webhook: Webhook) -> None:
    """Raises InvalidParameterError for a receiver that can never be sent to, or a secret that can't sign."""
    guard.check_url(webhook.url)
    if webhook.secret:
        check_secret(webhook.secret)


def _hash_of(model: LocalModel) -> str:
    """The pinned hash of verified weights; of others what is known without reading gigabytes."""
    row = find_model(model.name)
    if row is not None and model.verified:
        return row.sha256["model.bin"]
    return f"{UNVERIFIED}, {model.size_bytes} bytes"
