"""What the service is at one moment, for /metrics: its state, and the gauges that show it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..domain.ports import EngineInfo
from ..engine.slots import ASKED, EVICTED, IDLE, SlotView
from ..gpu.readings import GpuReadings

HEALTH_STATUSES = ("ok", "degraded", "failed")

#: Name, meaning, and the field of GpuReadings.
_GPU_GAUGES = (
    ("transcriber_gpu_memory_used_bytes", "GPU memory in use, by whomever.", "memory_used_bytes"),
    ("transcriber_gpu_memory_free_bytes", "GPU memory that is free.", "memory_free_bytes"),
    ("transcriber_gpu_memory_total_bytes", "GPU memory in all.", "memory_total_bytes"),
    ("transcriber_gpu_utilization_ratio", "Share of the time in which a kernel ran, 0 to 1.", "utilization"),
    ("transcriber_gpu_temperature_celsius", "Temperature of the GPU.", "temperature_celsius"),
)

Labels = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceState:
    """One look at the running service."""

    #: Seconds since a moment, however the clock was set meanwhile.
    age: Callable[[datetime], float]
    is_ready: bool
    #: ok, degraded or failed, as /health/gpu and the diagnostics have it.
    health: str
    #: The GPU is what requests get unless they say otherwise.
    is_gpu_wanted: bool
    is_gpu_proven: bool
    #: When the newest proof was made; it may be older than the engine that is up now.
    gpu_proven_at: datetime | None
    #: Code of what keeps a wanted GPU from serving.
    gpu_fault: str | None
    queue_size: int
    queue_limit: int
    engines: tuple[EngineInfo, ...]
    engine_restarts: int
    gpu: GpuReadings | None
    #: Every device and model that was asked for since the start; how many engines were ended with nothing wrong, by why.
    models: tuple[SlotView, ...] = ()
    #: Of the data folder's disk: bytes that are free, and those of them that are left to others.
    disk_free_bytes: int | None = None
    disk_reserve_bytes: int = 0
    unloads: Mapping[str, int] = field(default_factory=dict)
    #: By device: limit_bytes and counted_bytes of its engines.
    memory: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    #: By stage of an upload: passed, failed or unknown; seconds since the newest pipeline check.
    pipeline: Mapping[str, str] = field(default_factory=dict)
    pipeline_age: float | None = None
    #: The workers of a fleet, at a web node.
    workers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One metric as it stands: its samples, each with its labels. Without samples it is not known now."""

    name: str
    help: str
    samples: tuple[tuple[Labels, float], ...]
    is_counter: bool = False


def read_gauges(state: ServiceState) -> Iterator[Reading]:
    """Everything of this that Prometheus is to see; always the same metrics, known or not."""
    yield from _health_readings(state)
    yield from _pipeline_readings(state)
    yield from _queue_readings(state)
    yield from _engine_readings(state)
    yield from _model_readings(state)
    yield from _disk_readings(state)
    yield from _gpu_readings(state)
    yield from _worker_readings(state.workers)


def reading(name: str, text: str, value: float | None, labels: Labels | None = None) -> Reading:
    """A gauge of one sample, or of none where the value is not known."""
    return Reading(name=name, help=text, samples=() if value is None else ((labels or {}, value),))


def _health_readings(s: ServiceState) -> Iterator[Reading]:
    yield reading("transcriber_ready", "1 when a file sent now would be transcribed.", s.is_ready)
    yield Reading(
        name="transcriber_health_status",
        help="1 for the status that holds; degraded: the CPU stands in for a wanted GPU.",
        samples=tuple(({"status": status}, status == s.health) for status in HEALTH_STATUSES),
    )
    yield reading(
        "transcriber_gpu_wanted", "1 when requests get the GPU unless they say otherwise.", s.is_gpu_wanted
    )
    yield reading(
        "transcriber_gpu_proven",
        "1 while the GPU's proof stands: its engine is up, or rests with nothing wrong.",
        s.is_gpu_proven,
    )
    yield reading(
        "transcriber_gpu_proof_age_seconds",
        "Seconds since the GPU was last proven.",
        _age(s, s.gpu_proven_at),
    )
    yield reading(
        "transcriber_gpu_fault_info",
        "1 for the cause that keeps a wanted GPU from serving.",
        None if s.gpu_fault is None else 1,
        {"code": s.gpu_fault or ""},
    )


def _pipeline_readings(s: ServiceState) -> Iterator[Reading]:
    known = {stage: outcome for stage, outcome in s.pipeline.items() if outcome != "unknown"}
    yield Reading(
        name="transcriber_pipeline_stage_passed",
        help="1 when the newest pipeline check got through this stage of an upload, 0 when it failed there.",
        samples=tuple(({"stage": stage}, outcome == "passed") for stage, outcome in known.items()),
    )
    yield reading(
        "transcriber_pipeline_check_age_seconds", "Seconds since the newest pipeline check.", s.pipeline_age
    )


def _queue_readings(s: ServiceState) -> Iterator[Reading]:
    yield reading("transcriber_queue_size", "Jobs that wait.", s.queue_size)
    yield reading("transcriber_queue_limit", "Jobs that may wait (WHISPER_MAX_QUEUE).", s.queue_limit)


def _disk_readings(s: ServiceState) -> Iterator[Reading]:
    yield reading(
        "transcriber_disk_free_bytes", "Bytes that are free on the data folder's disk.", s.disk_free_bytes
    )
    yield reading(
        "transcriber_disk_reserve_bytes",
        "Bytes of that disk that are left to others (WHISPER_DISK_RESERVE_BYTES).",
        s.disk_reserve_bytes,
    )


def _engine_readings(s: ServiceState) -> Iterator[Reading]:
    started: dict[tuple[str, str, str], list[datetime]] = {}
    for engine in s.engines:
        key = (engine.device, engine.model, engine.compute_type)
        started.setdefault(key, []).append(engine.started_at)
    yield Reading(
        name="transcriber_engines",
        help="Engine children that are up.",
        samples=_by_engine((key, len(times)) for key, times in started.items()),
    )
    yield Reading(
        name="transcriber_engine_uptime_seconds",
        help="Seconds that the newest engine of this kind has been up.",
        samples=_by_engine((key, _age(s, max(times)) or 0.0) for key, times in started.items()),
    )
    yield Reading(
        name="transcriber_engine_restarts",
        help="Engines started again after the one before them died or was discarded.",
        samples=(({}, s.engine_restarts),),
        is_counter=True,
    )


def _model_readings(s: ServiceState) -> Iterator[Reading]:
    yield Reading(
        name="transcriber_model_loaded",
        help="1 while the model's engine is up, 0 once it was unloaded; models that were asked for since the start.",
        samples=tuple(({"device": v.device, "model": v.model}, v.state == "loaded") for v in s.models),
    )
    yield Reading(
        name="transcriber_model_proof_age_seconds",
        help="Seconds since the model's engine was last proven, also while it is unloaded.",
        samples=tuple(
            ({"device": view.device, "model": view.model}, _age(s, proven) or 0.0)
            for view in s.models
            if (proven := _proven_at(view)) is not None
        ),
    )
    yield Reading(
        name="transcriber_model_unloads",
        help="Engines that were ended with nothing wrong: idle for too long, evicted for another, or asked to.",
        samples=tuple(({"why": why}, s.unloads.get(why, 0)) for why in (IDLE, EVICTED, ASKED)),
        is_counter=True,
    )
    for name, text, key in (
        ("transcriber_model_memory_limit_bytes", "Bytes that models may take together.", "limit_bytes"),
        ("transcriber_model_memory_bytes", "Bytes that are counted for models that are up.", "counted_bytes"),
    ):
        known = {device: figures.get(key) for device, figures in s.memory.items()}
        yield Reading(
            name=name,
            help=text,
            samples=tuple(({"device": device}, n) for device, n in known.items() if n is not None),
        )


def _proven_at(view: SlotView) -> datetime | None:
    info = view.engine or (view.rest.engine if view.rest else None)
    return None if info is None else info.proven_at or info.started_at


def _by_engine(values: Iterable[tuple[tuple[str, str, str], float]]) -> tuple[tuple[Labels, float], ...]:
    return tuple(
        ({"device": device, "model": model, "compute_type": compute_type}, value)
        for (device, model, compute_type), value in values
    )


def _gpu_readings(s: ServiceState) -> Iterator[Reading]:
    gpu = s.gpu
    labels = {"uuid": gpu.uuid, "name": gpu.name} if gpu else {}
    for name, text, attribute in _GPU_GAUGES:
        yield reading(name, text, getattr(gpu, attribute, None), labels)
    yield reading(
        "transcriber_gpu_readings_age_seconds",
        "Seconds since the GPU was asked for these readings.",
        _age(s, gpu.read_at if gpu else None),
        labels,
    )
    energy = gpu.energy_joules if gpu else None
    yield Reading(
        name="transcriber_gpu_energy_joules",
        help="Energy the GPU has used since its driver was loaded.",
        samples=() if energy is None else ((labels, energy),),
        is_counter=True,
    )


#: Name, meaning and fact of what each worker says of itself.
_WORKER_GAUGES = (
    ("transcriber_worker_seen_age_seconds", "Seconds since the worker reported.", "age_seconds"),
    ("transcriber_worker_able", "1 while the worker takes work.", "is_able"),
    ("transcriber_worker_gpu_proven", "1 while the worker's GPU is proven.", "is_gpu_proven"),
    ("transcriber_worker_proof_age_seconds", "Seconds since its device was proven.", "proof_age_seconds"),
    ("transcriber_worker_slots", "Jobs that the worker does at once.", "slots"),
    ("transcriber_worker_jobs_running", "Jobs that the worker does now.", "running"),
)

#: Name, meaning, fact and label of what each worker counts since its start.
_WORKER_COUNTERS = (
    ("transcriber_worker_jobs", "Jobs that ended at the worker.", "jobs", "status"),
    ("transcriber_worker_audio_seconds", "Seconds of audio transcribed.", "audio_seconds", "device"),
    ("transcriber_worker_windows", "Windows in transcripts, by the encoder's device.", "windows", "device"),
)

_WORKER_LABELS = ("host", "version", "device", "device_name", "compute_type", "model")


def _worker_readings(workers: Sequence[Mapping[str, Any]]) -> Iterator[Reading]:
    """What web nodes know of the workers of their fleet; every web node says the same."""
    yield Reading(
        name="transcriber_worker_info",
        help="1, with what the worker is and computes on.",
        samples=tuple(
            (
                {"worker": worker["id"], **{name: str(worker.get(name) or "") for name in _WORKER_LABELS}},
                1,
            )
            for worker in workers
        ),
    )
    for name, text, fact in _WORKER_GAUGES:
        known = ((worker["id"], worker.get(fact)) for worker in workers)
        samples = tuple(({"worker": each}, float(value)) for each, value in known if value is not None)
        yield Reading(name=name, help=text, samples=samples)
    for name, text, fact, label in _WORKER_COUNTERS:
        counted = tuple(
            ({"worker": worker["id"], label: key}, float(value))
            for worker in workers
            for key, value in worker.get(fact, {}).items()
        )
        yield Reading(name=name, help=text, samples=counted, is_counter=True)


def _age(s: ServiceState, then: datetime | None) -> float | None:
    return None if then is None else s.age(then)
