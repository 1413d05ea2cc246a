"""The composition root: the only place where concrete classes are chosen and settings are read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from .. import __version__
from ..config import loader
from ..config.loader import Settings
from ..domain.errors import CapacityError
from ..domain.jobs import Webhook
from ..domain.options import TranscriptionRequest
from ..domain.ports import Clock, KeyStore
from ..domain.transcript import Receipt
from ..gpu.policy import GpuSituation
from ..gpu.receipt.engine_facts import look_at
from ..jobs.files.output import OutputFolder
from ..jobs.files.results import FileResultStore
from ..jobs.files.spool import Spool, find_free_bytes, free_bytes
from ..jobs.queue import Slots
from ..jobs.retention import Retention
from ..jobs.speeds import Speeds, load_speeds, save_speeds
from ..jobs.store.sql import SqlJobStore
from ..media.decoder import SandboxedDecoder
from ..models.catalogue import canonical_name, find_model
from ..models.finder import ModelFinder
from ..models.packaged import KNOWN, place
from ..observability.diagnostics import Diagnostics
from ..observability.diagnostics_collector import DiagnosticsCollector, DiagnosticsParts
from ..observability.pipeline_check import CHECK_ID, PipelineCheck
from ..observability.pipeline_check import PipelineParts as PipelineParts
from ..service.facade import Checks, JobLimits, Service, Storage, Webhooks
from ..service.keys import KeyRing
from ..service.transcription import DevicePlan, Transcriber
from ..speakers.diarizer import ChildDiarizer, DiarizerConfig
from ..system.clock import SystemClock, boot_id
from ..system.durable_files import kept_secret, read_small, write_small
from ..system.threads import NativeExecutor
from ..webhooks.dispatcher import Dispatcher
from ..webhooks.guard import Guard
from ..webhooks.ids import new_delivery_id
from ..webhooks.payload import make_delivery
from ..webhooks.sender import HttpSender
from ..webhooks.signing import check_secret
from .bootstrap_engine import EngineParts, MakeProbe, models_dir
from .bootstrap_sources import fetcher, live_captions, watched_folder
from .bootstrap_store import find_database_fault, open_keys, open_store, transfer_store
from .connections import Connections
from .first_key import note_first_key
from .lifecycle import Application, Lookout, Parts
from .logging import configure_logging
from .preflight import make_probe
from .revoked_sessions import RevokedSessions

if TYPE_CHECKING:
    from ..jobs.store.postgres.transfer import Transferred
    from .bootstrap_fleet import Fleet

__all__ = ["Application", "Embedded", "build", "build_embedded", "examine", "models_of", "place_models"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Connections at once; gunicorn.conf.py has room for a few more, so that one more can end an old one.
MOST_CONNECTIONS = 11_000

#: Jobs that one command may have waiting, whatever the installation's queue takes.
EMBEDDED_QUEUE = 100


def build(environ: Mapping[str, str]) -> Application:
    """The service, assembled but not started. Raises ConfigError."""
    settings = loader.load(environ)
    configure_logging(settings.log_level)
    application = Composition(settings, environ).application()
    loader.check_listening(settings, has_key=application.keys.is_needed)
    return application


@contextmanager
def keys_of(environ: Mapping[str, str]) -> Iterator[KeyRing]:
    """The keys of this installation, whether its service runs or not. Raises ConfigError."""
    settings = loader.load(environ)
    configure_logging("error")
    with open_keys(settings) as keys:
        yield key_ring(settings, keys, SystemClock())


def move_to_postgres(environ: Mapping[str, str]) -> Transferred:
    """Copy the jobs of the data folder's SQLite into WHISPER_DATABASE_URL. Raises ConfigError."""
    settings = loader.load(environ)
    configure_logging("error")
    return transfer_store(settings)


def key_ring(settings: Settings, store: KeyStore, clock: Clock) -> KeyRing:
    """Who may ask."""
    return KeyRing(store, first=settings.api_key, is_loopback=loader.is_loopback(settings.host), clock=clock)


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
    settings = loader.load(environ)
    configure_logging(settings.log_level if "log_level" in settings.sources else "error")
    requires_gpu = settings.gpu_policy == "required"
    own = replace(
        settings,
        data_dir=folder,
        database_url="",
        blob_url="",
        role="all",
        output_dir=None,
        watch_dir=None,
        engine_start="lazy",
        max_queue=max(settings.max_queue, EMBEDDED_QUEUE),
        gpu_policy="preferred" if requires_gpu else settings.gpu_policy,
    )
    composition = Composition(own, environ, home=settings.data_dir)
    return Embedded(application=composition.application(), requires_gpu=requires_gpu)


def examine(environ: Mapping[str, str]) -> Diagnostics:
    """Diagnostics of this installation without starting or locking anything. Raises ConfigError."""
    settings = loader.load(environ)
    configure_logging("error")
    composition = Composition(settings, environ, only_looks=True)
    situation = GpuSituation(
        policy=settings.gpu_policy,
        status=composition.parts.probe.status(),
        wants_gpu=settings.default_use_gpu,
    )
    return composition.diagnostics.examine(situation)


def models_of(environ: Mapping[str, str]) -> ModelFinder:
    """The models of this installation."""
    return Composition(loader.load(environ), environ).parts.models


def place_models(environ: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Put packaged models (all that are installed, if no names are given) into the models folder."""
    settings = loader.load(environ)
    wanted = list(names) or list(KNOWN.carried())
    place(wanted, models_dir(settings.data_dir))
    return wanted


class Composition:
    """The parts of one installation, each made once.

    home: where its models and caches are, if not with its data. only_looks: models are hashed anew, and nothing is kept.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        home: Path | None = None,
        *,
        only_looks: bool = False,
        make_probe: MakeProbe = make_probe,
    ) -> None:
        self._settings = settings
        self._clock_path = settings.data_dir / "clock.json"
        self._clock = SystemClock(boot=boot_id(), kept=read_small(self._clock_path))
        self._files = NativeExecutor(4)
        # One: Python computes on one thread at a time, and a second one would only take the event loop's turns.
        self._computing = NativeExecutor(1)
        self.parts = EngineParts(
            settings,
            environ,
            home=home or settings.data_dir,
            clock=self._clock,
            in_thread=self._in_thread,
            make_probe=make_probe,
        )
        if only_looks:
            self.parts.models.remember_nothing()
        self.diarizer = ChildDiarizer(
            DiarizerConfig(
                device=settings.speakers_device,
                threads=settings.speakers_threads,
                idle_seconds=settings.speakers_idle_seconds,
            )
        )
        self.decoder = SandboxedDecoder(
            max_audio_seconds=settings.max_audio_seconds,
            timeout_seconds=settings.decode_timeout_seconds,
            room=lambda: free_bytes(_on_disk(settings.data_dir), settings.disk_reserve_bytes),
        )
        self.diagnostics = DiagnosticsCollector(
            DiagnosticsParts(
                settings=settings.public(),
                cpu_compute_type=settings.cpu_compute_type,
                batch_size=settings.batch_size,
                role=settings.role,
                data_dir=settings.data_dir,
                monitor=self.parts.monitor,
                decoder=self.decoder,
                models=self.parts.models,
                default_model=self.parts.default_model,
                model_manager=self.parts.model_manager,
                canary=self.parts.canary,
                clock=self._clock,
                in_thread=self._in_thread,
                find_store_fault=lambda: find_database_fault(settings),
            )
        )

    def application(self) -> Application:
        """The service with its store opened."""
        settings = self._settings
        fleet = self._join_fleet()
        store = fleet.store if fleet else open_store(settings)
        storage = self._storage(store, fleet)
        guard = Guard(settings.webhook_allow_cidr)
        dispatcher = Dispatcher(
            fleet.outbox if fleet else storage.outbox,
            HttpSender(guard, version=__version__),
            self._clock,
            random.Random(),
        )
        # What all web nodes have to agree on.
        shared = settings.shared_dir
        speeds_path = settings.data_dir / "speeds.json"
        speeds = Speeds(self._clock, load_speeds(speeds_path))
        transcriber = self._transcriber(fleet.worker_id if fleet else None)
        keys = key_ring(settings, store.keys, self._clock)
        service = Service(
            storage=storage,
            checks=Checks(
                models=self.parts.models,
                decide=self._decide(fleet, transcriber),
                webhook=lambda webhook: check_webhook(guard, webhook),
                fetcher=fetcher(settings),
            ),
            transcriber=transcriber,
            webhooks=Webhooks(
                make_delivery=lambda job, answer, now: make_delivery(job, answer, now, new_delivery_id),
                wake=dispatcher.wake,
            ),
            speeds=speeds,
            limits=limits_of(settings, keys.max_jobs),
            clock=self._clock,
        )
        parts = Parts(
            probe=self.parts.probe,
            engines=self.parts.engines,
            decoder=self.decoder,
            diarizer=self.diarizer,
            retention=storage.retention,
            dispatcher=dispatcher,
            save_measured=lambda: self._in_thread(lambda: self._save_measured(speeds_path, speeds)),
            disk_free_bytes=lambda: find_free_bytes(settings.data_dir),
            check_store=store.check_writable,
            stores=(fleet or store,),
            fleet=self._lookout(fleet, service, dispatcher) if fleet else None,
            record_start=self.diagnostics.record_start,
            clock=self._clock,
            canary=self.parts.canary,
            pipeline=self._pipeline(store, storage),
            connections=Connections(
                per_address=settings.connections_per_address,
                total=MOST_CONNECTIONS,
                trusted=settings.trusted_proxies,
            ),
            monitor=self.parts.monitor,
            degradation_policy=self.parts.degradation_policy,
            model_manager=self.parts.model_manager,
            session_secret=self._in_thread(lambda: kept_secret(shared / "session.key")),
            revoked_sessions=RevokedSessions(shared / "signed-out.json", self._in_thread),
            keys=keys,
            live=live_captions(settings, service, storage, transcriber, self.parts.engines, self._clock),
            watched_folder=watched_folder(settings, service, self.parts.default_model.name, self._clock),
        )
        self._in_thread(lambda: note_first_key(settings.api_key, settings.data_dir))
        application = Application(
            settings=settings,
            default_model=self.parts.default_model.name,
            service=service,
            parts=parts,
            find_fault=lambda situation: self.parts.default_model.find_service_fault(
                situation, self.parts.find_start_error
            ),
            diagnose=lambda situation, problems: self.diagnostics.look(
                situation, problems, self._last_receipt(fleet, service)
            ),
            metrics=self.parts.metrics,
        )
        if fleet:
            self._employ(fleet, application, storage)
        return application

    def _join_fleet(self) -> Fleet | None:
        """The parts of a node; they are imported only where there is a fleet."""
        if self._settings.role == "all":
            return None
        from .bootstrap_fleet import join_fleet

        return join_fleet(self._settings, limits_of(self._settings).slots)

    def _decide(
        self, fleet: Fleet | None, transcriber: Transcriber
    ) -> Callable[[TranscriptionRequest], object]:
        """What refuses a request that can't be served now."""
        if fleet is None or self._settings.role == "worker":
            return transcriber.decide
        from .bootstrap_fleet import decide_by_fleet

        return decide_by_fleet(fleet.node)

    def _last_receipt(
        self, fleet: Fleet | None, service: Service
    ) -> Callable[[], tuple[str, Receipt] | None]:
        """The newest job's receipt; at a web node, of the jobs of all workers."""
        if fleet is None or self._settings.role == "worker":
            return lambda: service.last_receipt
        from .bootstrap_fleet import last_receipt_of_fleet

        return lambda: last_receipt_of_fleet(fleet.store.fleet.workers(), service.transcription)

    def _lookout(self, fleet: Fleet, service: Service, dispatcher: Dispatcher) -> Lookout:
        """How a node sees the others."""
        from ..fleet.watch import FleetWatch

        return Lookout(
            watch=FleetWatch(fleet.node, service, dispatcher.wake).run,
            workers=fleet.node.workers,
            leads=fleet.store.leads,
        )

    def _employ(self, fleet: Fleet, application: Application, storage: Storage) -> None:
        """Have a worker take jobs, and say what it is."""
        from ..fleet.node import WorkerNode
        from .bootstrap_fleet import worker_facts

        node = fleet.node
        if not isinstance(node, WorkerNode):
            return
        node.storage = storage
        node.place = application.service.work_place
        node.is_able = lambda: application.ready()[0]
        node.has_gpu = lambda: application.situation().proven is not None
        node.facts = lambda: worker_facts(application.describe_worker(), self._settings.worker_queues)

    def _pipeline(self, store: SqlJobStore, storage: Storage) -> PipelineCheck:
        """The check that readiness rests on, over the parts that jobs go through."""
        model = canonical_name(self.parts.default_model.name)
        return PipelineCheck(
            PipelineParts(
                folder=self._settings.data_dir / "spool" / CHECK_ID,
                native=self._in_thread,
                check_room=lambda: self._in_thread(lambda: storage.spool.check_room(0)),
                check_store=store.check_writable,
                decoder=self.decoder,
                engines=lambda: self.parts.engines_of(model),
                knows_words=find_model(model) is not None,
                replace=self.parts.canary.condemn,
            ),
            clock=self._clock,
            interval=self._settings.pipeline_check_seconds,
        )

    def _save_measured(self, speeds_path: Path, speeds: Speeds) -> None:
        save_speeds(speeds_path, speeds.known())
        try:
            write_small(self._clock_path, self._clock.to_bytes())
        except CapacityError as error:
            _log.warning("clock_not_kept", code=error.code, error=error.message)

    def _storage(self, store: SqlJobStore, fleet: Fleet | None) -> Storage:
        """The store's files, and how long each kind is kept."""
        settings = self._settings
        results = fleet.results if fleet else FileResultStore(settings.data_dir / "results")
        spool = fleet.spool if fleet else Spool(settings.data_dir / "spool", settings.disk_reserve_bytes)
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
            computing=self._computing,
            node=fleet.node if fleet else None,
        )

    def _transcriber(self, worker_id: str | None) -> Transcriber:
        return Transcriber(
            decoder=self.decoder,
            diarizer=self.diarizer,
            engines=self.parts.engines,
            gpu_status=lambda: self.parts.probe.last or self.parts.probe.status(),
            devices=DevicePlan(
                policy=self._settings.gpu_policy,
                gpu_compute_type=self._settings.gpu_compute_type,
                cpu_compute_type=self._settings.cpu_compute_type,
                degradation_policy=self.parts.degradation_policy,
                observe_engine=lambda engine: replace(
                    look_at(engine, self.parts.probe.last, self.parts.monitor.word_on), worker=worker_id
                ),
                expect=self.parts.monitor.nudge,
            ),
            clock=self._clock,
            boot_id=boot_id(),
        )

    def _in_thread(self, work: Callable[[], T], /) -> T:
        return self._files.submit(work).result()


def limits_of(settings: Settings, max_jobs: Callable[[str | None], int] = lambda owner: 0) -> JobLimits:
    """How much is worked on at once, and for how long."""
    has_lane = settings.short_seconds > 0
    return JobLimits(
        slots=Slots(
            long=settings.max_running,
            short=settings.short_slots if has_lane else 0,
            max_queue=settings.max_queue,
            max_queue_of_owner=max(1, settings.max_queue * settings.key_queue_share // 100),
            max_running_of=max_jobs,
        ),
        short_seconds=settings.short_seconds,
        job_timeout_seconds=settings.job_timeout_seconds,
    )


def _on_disk(folder: Path) -> Path:
    """The folder, or that of its parents which is there: doctor looks before the first start makes it."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def check_webhook(guard: Guard, webhook: Webhook) -> None:
    """Raises InvalidParameterError for a receiver that can never be sent to, or a secret that can't sign."""
    guard.check_url(webhook.url)
    if webhook.secret:
        check_secret(webhook.secret)
