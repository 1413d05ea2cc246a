"""What this installation computes with, as one value with a hash: two equal hashes, the same conditions. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..domain.errors import ConfigError
from .policy import choose_compute_type
from .probe.facts import GpuDevice, Library, ProbeReport
from .probe.kernels import code_for

#: How the entry of a model begins whose weights were not hashed.
UNVERIFIED = "not verified"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The capabilities of one start. None: not here, or not known."""

    #: The kernel module's version, as '570.124.06', and the CUDA version it speaks, as '12.8'.
    driver: str | None = None
    cuda: str | None = None
    cublas: str | None = None
    ctranslate2: str | None = None
    faster_whisper: str | None = None
    gpu_name: str | None = None
    gpu_uuid: str | None = None
    compute_capability: str | None = None
    #: What of CTranslate2's binary runs on this card: its machine code, or PTX that the driver compiles.
    kernels: str | None = None
    #: The number format that an engine on this GPU is asked for.
    compute_type: str | None = None
    #: From a model's name to the SHA-256 of its weights, or what stands for it.
    models: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    os: str | None = None
    kernel: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "models": dict(self.models)}

    @property
    def canonical(self) -> str:
        """The one JSON text of this value: keys sorted, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def take(report: ProbeReport, versions: Mapping[str, Any], models: Mapping[str, str]) -> Snapshot:
    """The snapshot of a probe, the versions of the system and its packages, and the models' hashes."""
    device, packages = report.selected, versions.get("packages", {})
    return Snapshot(
        driver=report.driver.kernel_module_version or _driver_of(device),
        cuda=_cuda(report.driver.version_number),
        cublas=_version_of(report.libraries, "libcublas.so."),
        ctranslate2=report.ctranslate2.version,
        faster_whisper=packages.get("faster-whisper"),
        gpu_name=device.name if device else None,
        gpu_uuid=device.uuid if device else None,
        compute_capability=device.compute_capability if device else None,
        kernels=code_for(report.ctranslate2.kernels, device.compute_capability) if device else None,
        compute_type=_compute_type(report.gpu_compute_type, device),
        models=dict(models),
        python=versions.get("python"),
        os=versions.get("os"),
        kernel=versions.get("kernel"),
    )


def parse(data: bytes) -> Snapshot:
    """The snapshot of a canonical text; facts that this version does not know are left out. Raises ValueError."""
    loaded = json.loads(data)
    if not isinstance(loaded, dict) or not isinstance(loaded.get("models"), dict):
        raise ValueError("not a snapshot")
    return Snapshot(**{name: loaded[name] for name in Snapshot.__dataclass_fields__ if name in loaded})


def _driver_of(device: GpuDevice | None) -> str | None:
    """The driver's version by NVML, where a container hides /proc/driver."""
    return device.sharing.nvml_driver if device and device.sharing else None


def _cuda(number: int | None) -> str | None:
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"


def _version_of(libraries: tuple[Library, ...], prefix: str) -> str | None:
    chosen = next((library.chosen for library in libraries if library.name.startswith(prefix)), None)
    return chosen.version if chosen else None


def _compute_type(setting: str, device: GpuDevice | None) -> str | None:
    if device is None:
        return None
    try:
        return choose_compute_type(setting, device.compute_types, device)
    except ConfigError:
        return setting
