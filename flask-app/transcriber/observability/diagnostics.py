"""The facts about this installation as one value; the page, the JSON and the CLI all show it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ..domain.ports import EngineInfo
from ..domain.transcript import FallbackReason, Receipt
from ..gpu import compatibility as matrix
from ..gpu import memory_needs
from ..gpu.drift import Change
from ..gpu.policy import GpuSituation
from ..gpu.probe import fault_codes
from ..gpu.probe.facts import GpuDevice, GpuStatus
from ..gpu.probe.sharing import describe
from ..gpu.snapshot import Snapshot

#: Packages whose version matters when something goes wrong.
PACKAGES = (
    "flask", "werkzeug", "gunicorn", "gevent", "faster-whisper", "ctranslate2", "onnxruntime", "av", "numpy",
    "sqlalchemy", "nvidia-cublas-cu12", "nvidia-cudnn-cu12",
)  # fmt: skip

_EFFECTIVE_ON_CPU = {"int8": "int8_float32", "auto": "int8_float32"}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What bootstrap hands in: plain values from the rest of the service."""

    gpu: GpuSituation
    cpu_compute_type: str
    now: datetime
    #: Seconds since a moment, however the clock was set meanwhile.
    age: Callable[[datetime], float]
    settings: Sequence[Mapping[str, str]] = ()
    models: Sequence[Mapping[str, Any]] = ()
    last_receipt: Receipt | None = None
    last_job_id: str | None = None
    versions: Mapping[str, Any] = field(default_factory=dict)
    media_sandbox: Mapping[str, Any] = field(default_factory=dict)
    #: What it computes with now; what changed since the last start; the default model, and its windows at once.
    snapshot: Snapshot | None = None
    changes: tuple[Change, ...] = ()
    model: str | None = None
    batch_size: int = 1
    selftests: Sequence[Mapping[str, Any]] = ()
    #: Engines that were ended with nothing wrong, and the memory that models may take.
    unloaded: Sequence[Mapping[str, Any]] = ()
    model_memory: Mapping[str, Any] = field(default_factory=dict)
    #: Why the service takes no work, whatever the GPU does.
    problems: tuple[FallbackReason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """One look at the installation. Every value is plain, so that JSON shows exactly this."""

    verdict: str
    status: str
    gpu_policy: str
    problems: list[dict[str, str]]
    notes: list[dict[str, str]]
    hardware: dict[str, Any]
    driver: dict[str, Any]
    devices: list[dict[str, Any]]
    selected_device: dict[str, Any] | None
    libraries: list[dict[str, Any]]
    ctranslate2: dict[str, Any]
    engines: list[dict[str, Any]]
    last_receipt: dict[str, Any] | None
    models: list[dict[str, Any]]
    settings: list[dict[str, str]]
    versions: dict[str, Any]
    media_sandbox: dict[str, Any]
    generated_at: str
    gpu_checked_at: str
    probe_seconds: float
    #: What it computes with, hashed; what changed since the last start; what the pinned table says; how the GPU is shared.
    snapshot: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    compatibility: dict[str, Any] | None = None
    sharing: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    selftests: list[dict[str, Any]] = field(default_factory=list)
    #: Of a service that runs: the stages of a job with their devices (observability/stages.py), and observability/history.py's facts.
    stages: list[dict[str, Any]] = field(default_factory=list)
    last_hour: dict[str, Any] | None = None
    #: What the newest pipeline check found of each stage of an upload (observability/pipeline_check.py).
    pipeline: list[dict[str, Any]] = field(default_factory=list)
    #: Engines that were ended with nothing wrong, with their last proof; by device, the memory that models may take.
    unloaded: list[dict[str, Any]] = field(default_factory=list)
    model_memory: dict[str, Any] = field(default_factory=dict)
    #: WHISPER_ROLE; at a web node, the workers that transcribe for it: the facts of hardware here are the node's own.
    role: str = "all"
    workers: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def collect(sources: Sources) -> Diagnostics:
    """Put the facts together, with the sentence that sums them up."""
    gpu = sources.gpu
    status = gpu.status
    return Diagnostics(
        verdict=verdict(sources),
        status="failed" if sources.problems else gpu.health,
        gpu_policy=gpu.policy,
        problems=[asdict(reason) for reason in _problems(sources)],
        notes=[asdict(reason) for reason in _notes(sources)],
        hardware=asdict(status.hardware),
        driver=asdict(status.driver),
        devices=[_device(device) for device in status.devices],
        selected_device=_device(status.selected) if status.selected else None,
        libraries=[asdict(library) for library in status.libraries],
        ctranslate2=_ctranslate2(status),
        engines=[_engine(engine, sources.age) for engine in gpu.engines],
        last_receipt=_receipt(sources),
        models=[dict(model) for model in sources.models],
        settings=[dict(setting) for setting in sources.settings],
        versions=dict(sources.versions),
        media_sandbox=dict(sources.media_sandbox),
        generated_at=sources.now.isoformat(),
        gpu_checked_at=status.checked_at.isoformat(),
        probe_seconds=status.probe_seconds,
        snapshot=_snapshot(sources.snapshot),
        changes=[asdict(change) for change in sources.changes],
        compatibility=_compatibility(sources.snapshot),
        sharing=_sharing(status.selected),
        memory=_memory(sources),
        selftests=[dict(test) for test in sources.selftests],
        unloaded=[dict(engine) for engine in sources.unloaded],
        model_memory=dict(sources.model_memory),
    )


def verdict(sources: Sources) -> str:
    """One sentence: where this server transcribes, and if not on the GPU, why not."""
    gpu = sources.gpu
    if sources.problems:
        return f"This server takes no work: {_continued(sources.problems[0].message)}"
    if gpu.proven is not None and gpu.policy != "off" and (gpu.left is None or gpu.policy == "required"):
        trouble = (
            f" But the default model had too little memory there: {gpu.left.message}" if gpu.left else ""
        )
        return _verdict_on_gpu(gpu.proven, sources.age) + trouble
    on_cpu = f"This server transcribes on the CPU ({_cpu_compute_type(sources)})"
    if gpu.policy == "off":
        return f"{on_cpu}: the GPU policy is off."
    cause = gpu.cause
    if gpu.policy == "required":
        why = cause or fault_codes.reason("gpu_not_proven")
        return f"This server takes no work: the GPU is required, and {_continued(why.message)}"
    if cause is not None:
        return f"{on_cpu}: {_continued(cause.message)}"
    if not gpu.wants_gpu:
        return f"{on_cpu} unless a request asks for the GPU, which looks usable."
    name = gpu.status.selected.name if gpu.status.selected else "the GPU"
    return f"This server will transcribe on {name}; it looks usable, and no engine has proven it yet."


def _verdict_on_gpu(engine: EngineInfo, age: Callable[[datetime], float]) -> str:
    name = engine.device_name or "the GPU"
    ago = duration(age(engine.proven_at or engine.started_at))
    return f"This server transcribes on {name} ({engine.compute_type}), proven {ago} ago."


def _continued(sentence: str) -> str:
    """A sentence as the second half of another; names such as CUDA keep their capitals."""
    return (
        sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[1:2] == " " else sentence
    )


def _cpu_compute_type(sources: Sources) -> str:
    running = next((e.compute_type for e in sources.gpu.engines if e.device == "cpu"), None)
    return running or _EFFECTIVE_ON_CPU.get(sources.cpu_compute_type, sources.cpu_compute_type)


def _problems(sources: Sources) -> list[FallbackReason]:
    """The faults, without repeats; an unwanted GPU has none."""
    gpu = sources.gpu
    found = [*sources.problems]
    if gpu.policy != "off" and gpu.proven is None:
        found += [*gpu.status.problems, *([gpu.failure] if gpu.failure else [])]
        fit, device = _fit(sources), gpu.status.selected
        advice = memory_needs.advise_for(fit, device) if fit and device and gpu.status.usable else None
        found += [fault_codes.reason("gpu_memory_short", advice)] if advice else []
    if gpu.policy != "off" and gpu.left is not None:
        found.append(gpu.left)
    return list({reason.code: reason for reason in found}.values())


def _notes(sources: Sources) -> list[FallbackReason]:
    notes = [] if sources.gpu.policy == "off" else [*sources.gpu.status.notes]
    if any(setting.get("name") == "CT2_USE_CUDNN" and setting.get("value") for setting in sources.settings):
        needed = sources.gpu.status.ctranslate2.needs_cudnn
        detail = "is needed by this version and always used" if needed else "is not used by this version"
        notes.append(fault_codes.reason("setting_without_effect", detail))
    return notes


def _device(device: GpuDevice) -> dict[str, Any]:
    return {**asdict(device), "compiled_at_first_use": device.is_compiled_at_first_use}


def _ctranslate2(status: GpuStatus) -> dict[str, Any]:
    facts = status.ctranslate2
    types = {"cpu": list(facts.cpu_compute_types)}
    types |= {f"cuda:{device.index}": list(device.compute_types) for device in status.devices}
    return {**asdict(facts), "compute_types": types}


def _snapshot(snapshot: Snapshot | None) -> dict[str, Any] | None:
    return None if snapshot is None else {"sha256": snapshot.digest, **snapshot.to_dict()}


def _compatibility(snapshot: Snapshot | None) -> dict[str, Any] | None:
    """What the pinned table says; nothing where there is no GPU to judge."""
    return None if snapshot is None or snapshot.gpu_name is None else asdict(matrix.judge(snapshot))


def _sharing(device: GpuDevice | None) -> dict[str, Any] | None:
    if device is None or device.sharing is None:
        return None
    return {"summary": describe(device.sharing), **asdict(device.sharing)}


def _memory(sources: Sources) -> dict[str, Any] | None:
    """The default model's need beside what is free and what our engines hold, and what to do if it is too little."""
    fit, device = _fit(sources), sources.gpu.status.selected
    if fit is None or device is None:
        return None
    advice = None if sources.gpu.proven else memory_needs.advise_for(fit, device)
    return {**asdict(fit), "own_bytes": memory_needs.own_bytes(device), "advice": advice}


def _fit(sources: Sources) -> memory_needs.Fit | None:
    compute_type = sources.snapshot.compute_type if sources.snapshot else None
    return memory_needs.weigh_on(sources.gpu.status.selected, compute_type, sources.model, sources.batch_size)


def _engine(engine: EngineInfo, age: Callable[[datetime], float]) -> dict[str, Any]:
    """An engine child as people ask for it: pid, device, compute_type, model, uptime; then its proof."""
    return {
        "pid": engine.pid,
        "device": engine.device,
        "compute_type": engine.compute_type,
        "model": engine.model,
        "uptime": round(age(engine.started_at), 1),
        "requested_compute_type": engine.requested_compute_type,
        "device_name": engine.device_name,
        "device_uuid": engine.device_uuid,
        "warmup_device": engine.warmup_device,
        "load_seconds": engine.load_seconds,
        "warmup_seconds": engine.warmup_seconds,
        "supported_compute_types": list(engine.supported_compute_types),
        "started_at": engine.started_at.isoformat(),
        "proven_at": engine.proven_at and engine.proven_at.isoformat(),
    }


def _receipt(sources: Sources) -> dict[str, Any] | None:
    if sources.last_receipt is None:
        return None
    return {"job_id": sources.last_job_id, **asdict(sources.last_receipt)}


def find_versions(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Python, the system, and the installed packages, none of which is imported."""
    return {
        "python": platform.python_version(),
        "os": _os_name(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "packages": {name: version for name in packages if (version := _package_version(name))},
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"
