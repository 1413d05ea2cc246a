"""The assembled service: what starts, what runs in the background, and what it says of its own state."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import structlog

from ..config.loader import Settings
from ..domain.errors import (
    CapacityError,
    DecoderCrashedError,
    DecoderUnavailableError,
    EngineError,
    InvalidParameterError,
    TranscriberError,
    WebNodeError,
)
from ..domain.jobs import Job
from ..domain.ports import Clock, Diarizer, EngineInfo
from ..domain.transcript import FallbackReason, Transcription
from ..engine.pool import ChildEnginePool
from ..engine.selftest.health_check import HealthCheck, HealthFinding
from ..gpu.memory_fallback import DegradationPolicy
from ..gpu.monitor import STALE_SECONDS, GpuMonitor
from ..gpu.policy import GpuSituation, gpu_health, readiness, reason_of_engine_failure
from ..gpu.probe.facts import GpuStatus
from ..gpu.probe.hardware import find_hardware
from ..gpu.probe.launcher import GpuProbe
from ..gpu.recovery import GpuRecovery
from ..jobs.retention import Retention
from ..live.captions import LiveCaptions
from ..media.decoder import SandboxedDecoder
from ..models.catalogue import canonical_name
from ..observability.diagnostics import Diagnostics
from ..observability.fleet import (
    FleetView,
    SeenWorker,
    WorkerHistory,
    WorkerState,
    describe_worker,
    workers_of,
)
from ..observability.gauges import ServiceState
from ..observability.history import SAMPLE_SECONDS, History
from ..observability.metrics import Metrics
from ..observability.pipeline_check import PipelineCheck
from ..observability.pipeline_stages import ENGINE
from ..observability.stages import stages
from ..service.facade import Service
from ..service.keys import KeyRing
from ..service.model_manager import ModelManager
from ..sources.watched_folder import WatchedFolder
from ..webhooks.dispatcher import Dispatcher
from .connections import Connections
from .preflight import EXIT_GPU_REQUIRED
from .revoked_sessions import RevokedSessions
from .systemd_notify import Address, is_answered
from .vital_signs import VitalSigns
from .watchdog import Vitals

logger = structlog.get_logger(__name__)

#: How often a failed start is tried again where nobody else does, in seconds.
MEND_SECONDS = 60.0

#: When the service stops: how long requests in flight may still be answered, in seconds, and how long jobs then
#: have to let go of their engines.
GRACE_SECONDS = 3.0
CLOSE_SECONDS = 1.0

#: How often the worker is asked whether it is ending, in seconds.
END_POLL_SECONDS = 0.2

#: How often old uploads and results are removed, and measured speeds are saved, in seconds.
SWEEP_SECONDS = 600.0
SAVE_SECONDS = 60.0


#: A required GPU's proof is too old after this many intervals between self-tests, and never within these seconds.
PROOF_INTERVALS = 4
PROOF_SECONDS = 1_800.0


class Closable(Protocol):
    """A part that gives back what it holds."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookout:
    """How a node of a fleet sees the others. watch: thread that tells followers here of jobs there."""

    watch: Callable[[threading.Event], None]
    workers: Callable[[], Sequence[SeenWorker]]
    leads: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The concrete parts that bootstrap chose."""

    probe: GpuProbe
    engines: ChildEnginePool
    decoder: SandboxedDecoder
    diarizer: Diarizer
    retention: Retention
    dispatcher: Dispatcher
    #: Keeps what was measured for the next start.
    save_measured: Callable[[], None]
    #: Bytes that are free on the data folder's disk; None where it does not say.
    disk_free_bytes: Callable[[], int | None]
    #: Writes to the job store, and changes nothing.
    check_store: Callable[[], object]
    #: Closed last, in this order.
    stores: tuple[Closable, ...]
    #: Keeps what this start computes with.
    record_start: Callable[[GpuStatus], None]
    clock: Clock
    canary: HealthCheck
    pipeline: PipelineCheck
    connections: Connections
    monitor: GpuMonitor
    degradation_policy: DegradationPolicy
    model_manager: ModelManager
    #: What browser sessions are signed with.
    session_secret: bytes = b""
    revoked_sessions: RevokedSessions
    #: Who may ask.
    keys: KeyRing
    live: LiveCaptions
    #: The folder whose files become jobs by themselves.
    watched_folder: WatchedFolder | None = None
    #: None: this service is all there is.
    fleet: Lookout | None = None


class Application:
    """One running service over its parts."""

    def __init__(
        self,
        *,
        settings: Settings,
        default_model: str,
        service: Service,
        parts: Parts,
        find_fault: Callable[[GpuSituation], FallbackReason | None],
        diagnose: Callable[[GpuSituation, tuple[FallbackReason, ...]], Diagnostics],
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.default_model = default_model
        self.service = service
        self.metrics = metrics
        #: The models, for those who look at them and handle them.
        self.models = parts.model_manager
        #: What browser sessions are signed with, beside the key.
        self.session_secret = parts.session_secret
        self.revoked_sessions = parts.revoked_sessions
        #: Those of the web worker, which counts them.
        self.connections = parts.connections
        self.keys = parts.keys
        self.live = parts.live
        metrics.watch(self.service_state)
        self._last_hour = History(parts.clock)
        self._counts = WorkerHistory(parts.clock)
        service.observe_jobs(self._note_job)
        self._parts = parts
        self._find_fault = find_fault
        self._diagnose = diagnose
        self._closing = threading.Event()
        self._close_lock = threading.Lock()
        self._is_closed = False
        self._booted = threading.Event()
        #: Called with the reason before the process ends for lack of a GPU.
        self.on_refusal: Callable[[FallbackReason], None] = lambda cause: None
        self._gpu_watch = GpuRecovery(
            probe=parts.probe,
            interval=settings.gpu_watch_seconds,
            situation=self.situation,
            find_hardware=find_hardware,
            take_back=self._take_gpu_back,
        )

    @property
    def address(self) -> str:
        """Where the service listens."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self.settings.port}"

    def start(self) -> None:
        """Probe the GPU, start the children and take work. Ends the process where a required GPU is missing."""
        if self.settings.role == "web":
            self._start_web(self._parts.fleet)
            return
        status = self._parts.probe.status()
        self._parts.record_start(status)
        if self.settings.gpu_policy == "required" and status.cause is not None:
            self._refuse_without_gpu(status.cause)
        self._start_decoder()
        self.service.start()
        if self.settings.role == "all":
            self._parts.dispatcher.start()
        self._parts.engines.supervise()
        if self.settings.engine_start == "boot" or self.settings.gpu_policy == "required":
            # A required GPU is proven at start in any case, for it is not served before.
            threading.Thread(target=self._boot, name="engine-boot", daemon=True).start()
        else:
            self._booted.set()
        for name, watch in (
            ("gpu-watch", self._gpu_watch.run),
            ("canary", self._parts.canary.watch),
            ("pipeline-check", self._parts.pipeline.watch),
        ):
            threading.Thread(target=watch, args=(self._closing,), name=name, daemon=True).start()
        self.live.start()
        if self._parts.watched_folder is not None and self.settings.role == "all":
            watch = self._parts.watched_folder.run
            threading.Thread(target=watch, args=(self._closing,), name="watched-folder", daemon=True).start()
        threading.Thread(target=self._mend, name="mender", daemon=True).start()
        threading.Thread(target=self._keep_house, name="housekeeping", daemon=True).start()
        threading.Thread(target=self._parts.monitor.run, name="gpu-readings", daemon=True).start()
        threading.Thread(target=self._keep_hour, name="last-hour", daemon=True).start()

    def _start_web(self, fleet: Lookout | None) -> None:
        """A web node of a fleet: it holds no engine, and looks at no GPU."""
        self.service.start()
        self._parts.dispatcher.start()
        self._booted.set()
        if fleet is not None:
            threading.Thread(
                target=fleet.watch, args=(self._closing,), name="fleet-watch", daemon=True
            ).start()
        threading.Thread(target=self._keep_house, name="housekeeping", daemon=True).start()
        threading.Thread(target=self._keep_hour, name="last-hour", daemon=True).start()

    def workers(self) -> list[dict[str, Any]]:
        """The workers of the fleet that live; none where this service is all there is."""
        return workers_of(self._parts.fleet.workers() if self._parts.fleet else ())

    def describe_worker(self) -> dict[str, Any]:
        """What a fleet's worker says of itself."""
        state = WorkerState(
            ready=self.ready(),
            proven=self.situation().proven,
            engines=self.engines(),
            default_model=canonical_name(self.default_model),
        )
        return describe_worker(state, self._parts.clock) | self._counts.facts()

    @property
    def _fleet(self) -> FleetView | None:
        """The workers that jobs sent to this web node are done by; None where this process does them."""
        if self.settings.role != "web":
            return None
        return FleetView(
            workers=self.workers(), policy=self.settings.gpu_policy, wants_gpu=self.settings.default_use_gpu
        )

    def stop_when(self, is_ending: Callable[[], bool]) -> None:
        """Begin to stop as soon as this says so: while requests in flight are still being answered."""
        threading.Thread(target=self._watch_end, args=(is_ending,), name="end-watch", daemon=True).start()

    def note_vitals(self, vitals: Vitals, address: Address) -> None:
        """From now on, note for the master how the service is, which is bound to this address."""
        signs = VitalSigns(
            vitals,
            ask_store=self._parts.check_store,
            proof_seconds_left=self._proof_seconds_left,
            is_serving=lambda: (not self._is_gpu_required or self._booted.is_set()) and is_answered(address),
        )
        threading.Thread(target=signs.watch, args=(self._closing,), name="vital-signs", daemon=True).start()

    def close(self) -> None:
        """Hand back what runs, end the children and give back the stores. A second call does nothing."""
        with self._close_lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._closing.set()
        self.live.close()
        self.service.close(CLOSE_SECONDS)
        self._parts.dispatcher.close(CLOSE_SECONDS)
        self._parts.engines.close()
        self._parts.monitor.close()
        self._parts.decoder.close()
        self._parts.diarizer.close()
        self._parts.save_measured()
        for part in self._parts.stores:
            part.close()

    def situation(self) -> GpuSituation:
        """All that bears on whether the GPU serves, now."""
        return GpuSituation(
            # A web node has no GPU to speak of: the workers say what theirs is.
            policy="off" if self.settings.role == "web" else self.settings.gpu_policy,
            status=self._parts.probe.last or self._parts.probe.status(),
            engines=self.engines(),
            wants_gpu=self.settings.default_use_gpu,
            failure=self._gpu_failure(),
            at_rest=self._parts.engines.at_rest("cuda"),
            left=self._parts.degradation_policy.why_left(canonical_name(self.default_model)),
        )

    def engines(self) -> tuple[EngineInfo, ...]:
        """The engine children that are up."""
        return self._parts.engines.running()

    def diagnostics(self) -> Diagnostics:
        """Facts about this installation, as page, JSON and command line show them."""
        situation = self.situation()
        found = self._diagnose(situation, tuple(fault for _, fault in self._faults(situation)))
        self._note_state()
        fleet = self._fleet
        if fleet is not None:
            return replace(
                found,
                role="web",
                verdict=fleet.verdict,
                status=fleet.status,
                gpu_policy=fleet.policy,
                problems=[asdict(problem) for problem in fleet.problems],
                notes=[],
                workers=[dict(worker) for worker in fleet.workers],
                last_hour=self._last_hour.facts(),
            )
        return replace(
            found,
            role=self.settings.role,
            stages=stages(situation.engines, self._last_hour.last),
            pipeline=[state.to_dict() for state in self._parts.pipeline.states],
            last_hour=self._last_hour.facts(),
        )

    def verdict(self) -> str:
        """The state of the GPU in one sentence."""
        return self.diagnostics().verdict

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether a file sent now would be transcribed under the policy, and why not."""
        if (fleet := self._fleet) is not None:
            return _fleet_ready(fleet)
        situation = self.situation()
        is_ready, body = readiness(situation)
        body |= {"engine": self.models.default_engine()}
        if not self._booted.is_set():
            return False, body | {"status": "starting"}
        for stage, fault in self._faults(situation):
            return False, body | {"status": "failed", "stage": stage, "error": asdict(fault)}
        return is_ready, body

    def gpu_health(self) -> tuple[bool, dict[str, Any]]:
        """Whether the GPU is proven, or not wanted; at a web node of a fleet, that of any worker."""
        return gpu_health(self.situation()) if self._fleet is None else self._fleet.gpu_health()

    def disk_free_bytes(self) -> int | None:
        """Bytes that are free on the data folder's disk; None where it does not say."""
        return self._parts.disk_free_bytes()

    def selftest(self, device: str | None = None) -> HealthFinding:
        """Test an engine that is up now, between two of its batches; none is started for it."""
        return self._parts.canary.test_now(device)

    def device_for(self, asked: str | None) -> str:
        """Where a model is loaded: there where it is asked to, else where requests without wishes run.

        Raises InvalidParameterError for a GPU that the server is set never to use, WebNodeError at a web node.
        """
        if self._fleet is not None:
            raise WebNodeError()
        if asked == "cuda" and not self._wants_gpu:
            raise InvalidParameterError("device", asked, "cpu, as WHISPER_GPU_POLICY=off uses no GPU")
        if asked is not None:
            return asked
        return "cuda" if self._wants_gpu and self.situation().cause is None else "cpu"

    def service_state(self) -> ServiceState:
        """One look at everything that /metrics shows as a gauge."""
        situation = self.situation()
        is_ready, _ = self.ready()
        proven, fault = situation.proven, situation.cause
        is_off = situation.policy == "off"
        state = ServiceState(
            age=self._parts.clock.age,
            is_ready=is_ready,
            health=situation.health,
            is_gpu_wanted=self._wants_gpu,
            is_gpu_proven=proven is not None,
            gpu_proven_at=self._parts.canary.last_proof,
            gpu_fault=fault.code if fault and not is_off else None,
            queue_size=self.service.queue_size,
            queue_limit=self.settings.max_queue,
            engines=situation.engines,
            engine_restarts=self._parts.engines.restarts,
            models=self._parts.engines.views(),
            unloads=self._parts.engines.unloads,
            memory=self.models.memory(),
            gpu=self._parts.monitor.read(),
            disk_free_bytes=self._parts.disk_free_bytes(),
            disk_reserve_bytes=self.settings.disk_reserve_bytes,
            pipeline={state.name: state.outcome for state in self._parts.pipeline.states},
            pipeline_age=self._parts.pipeline.age_seconds,
        )
        return state if self._fleet is None else _state_of_fleet(state, self._fleet, self._parts.clock)

    def _boot(self) -> None:
        """Thread: have the default engine up before the first request asks for it."""
        devices = ["cuda", "cpu"] if self._wants_gpu and self._parts.probe.status().usable else ["cpu"]
        for device in devices:
            try:
                self._parts.engines.ensure(device, self.default_model)
            except TranscriberError as error:
                logger.error("engine_boot_failed", device=device, code=error.code, error=error.message)
                if self.settings.gpu_policy == "required" and isinstance(error, EngineError):
                    self._refuse_without_gpu(reason_of_engine_failure(error))
            else:
                break
        self._parts.pipeline.settle()
        self._booted.set()

    def _faults(self, situation: GpuSituation) -> list[tuple[str, FallbackReason]]:
        """Why no work is taken, by stage. An engine that the check had ended is out for the check's reason."""
        fault, failure = self._find_fault(situation), self._parts.pipeline.failure
        is_told = fault is None or (failure is not None and failure[1].code == fault.code)
        return [*([] if is_told or fault is None else [(ENGINE, fault)]), *([failure] if failure else [])]

    @property
    def _is_gpu_required(self) -> bool:
        return self.settings.gpu_policy == "required"

    def _proof_seconds_left(self) -> float:
        """How long the proof of a required GPU stays young enough; for ever where self-tests are off or none is up."""
        interval, proven_at = self.settings.selftest_interval_seconds, self._parts.canary.last_proof
        if not self._is_gpu_required or not interval or proven_at is None:
            return math.inf
        if not any(engine.device == "cuda" for engine in self.engines()):
            return math.inf
        age = (self._parts.clock.now() - proven_at).total_seconds()
        return max(PROOF_INTERVALS * interval, PROOF_SECONDS) - age

    @property
    def _wants_gpu(self) -> bool:
        """Whether requests without wishes get the GPU."""
        policy = self.settings.gpu_policy
        return policy == "required" or (policy != "off" and self.settings.default_use_gpu)

    def _start_decoder(self) -> None:
        """Have the decode server warm. One that dies meanwhile is no reason not to serve: the next job starts another."""
        try:
            self._parts.decoder.start()
        except DecoderUnavailableError as error:
            logger.error("decoder_boot_failed", code=error.code, error=error.message)

    def _watch_end(self, is_ending: Callable[[], bool]) -> None:
        """Thread: followers go at once; requests that wait for a job get an answer before the worker is killed."""
        while not is_ending():
            if self._closing.wait(END_POLL_SECONDS):
                return
        logger.info("stopping", awaited=self.service.awaited)
        self.live.close()
        self.service.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        while (
            self.service.awaited and time.monotonic() < deadline and not self._closing.wait(END_POLL_SECONDS)
        ):
            continue
        self.service.hand_back()

    def _keep_house(self) -> None:
        """Thread: remove what has been kept long enough, and keep what was measured."""
        next_sweep = time.monotonic() + SAVE_SECONDS
        while not self._closing.wait(SAVE_SECONDS):
            self._parts.save_measured()
            if time.monotonic() < next_sweep:
                continue
            next_sweep = time.monotonic() + SWEEP_SECONDS
            try:
                if self._parts.fleet is None or (self.settings.role == "web" and self._parts.fleet.leads()):
                    self._parts.retention.sweep()
            except Exception as error:  # noqa: BLE001  the thread's boundary: the disk may be back for the next round
                logger.warning("retention_failed", error=str(error), kind=type(error).__name__)

    def _keep_hour(self) -> None:
        """Thread: look at the service now and then, so that its last hour can be shown."""
        while not self._closing.wait(SAMPLE_SECONDS):
            self._note_state()

    def _note_state(self) -> None:
        gpu = self._parts.monitor.read()
        age = self._parts.clock.age(gpu.read_at) if gpu else 0.0
        self._last_hour.note_state(
            waiting=self.service.queue_size,
            at_work=self.service.at_work if self._fleet is None else self._fleet.running,
            gpu_use=gpu.utilization if gpu and age < STALE_SECONDS else None,
        )

    def _note_job(
        self, job: Job, transcription: Transcription | None, error: TranscriberError | None
    ) -> None:
        """Every job that ended, for the metrics and for the last hour."""
        self.metrics.observe_job_ended(job, transcription, error)
        self._counts.note_job(job, transcription, error)
        self._last_hour.note_job(job, transcription, error)
        if isinstance(error, CapacityError | EngineError | DecoderCrashedError):
            self._parts.pipeline.ask()

    def _take_gpu_back(self) -> None:
        """The GPU looks usable again: have it proven, where engines start without being asked for."""
        if self.settings.engine_start == "lazy" or not self._wants_gpu:
            return
        try:
            self._parts.engines.ensure("cuda", self.default_model)
        except TranscriberError as error:
            logger.warning("gpu_not_recovered", code=error.code, error=error.message)
        else:
            logger.info("gpu_recovered", model=self.default_model)

    def _mend(self) -> None:
        """Thread: try a failed start again where nobody else does, as a server that is not ready gets no requests."""
        while not self._closing.wait(MEND_SECONDS):
            is_lazy = self._booted.is_set() and self.settings.engine_start == "lazy"
            if is_lazy and (self._find_fault(self.situation()) or self._parts.pipeline.failure):
                self._boot()

    def _gpu_failure(self) -> FallbackReason | None:
        error = self._parts.engines.last_start_error("cuda")
        return reason_of_engine_failure(error) if isinstance(error, EngineError) else None

    def _refuse_without_gpu(self, cause: FallbackReason) -> None:
        logger.critical("gpu_required", code=cause.code, error=cause.message, fix=cause.fix)
        self.on_refusal(cause)
        self._parts.engines.close()
        os._exit(EXIT_GPU_REQUIRED)


def _fleet_ready(fleet: FleetView) -> tuple[bool, dict[str, Any]]:
    """A web node is ready when a worker takes work, and where a GPU is required, one with a proven one."""
    body: dict[str, Any] = {"policy": fleet.policy, "workers": fleet.workers, "status": fleet.status}
    return fleet.is_ready, body | ({"error": asdict(fleet.fault)} if fleet.fault else {})


def _state_of_fleet(state: ServiceState, fleet: FleetView, clock: Clock) -> ServiceState:
    """A web node's state: what concerns the GPU is the workers'."""
    is_well, gpu = fleet.gpu_health()
    age = gpu.get("proof_age_seconds")
    return replace(
        state,
        health=fleet.status,
        is_gpu_proven=gpu["gpu_proven"],
        gpu_proven_at=None if age is None else clock.now() - timedelta(seconds=age),
        gpu_fault=None if is_well or not fleet.wants_gpu else gpu["fallback_reason"]["code"],
        workers=fleet.workers,
    )
