"""What can be seen of an engine child from outside, for the receipts of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...domain.ports import EngineInfo
from ...domain.transcript import Corroboration
from ..probe.facts import GpuDevice, GpuStatus
from ..probe.kernels import code_for
from .mapped_libraries import find_mapped

WHOLE = "whole"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFacts:
    """The fields of a receipt about the engine; docs/gpu-reference.md explains them."""

    partition: str | None = None
    kernels: str | None = None
    is_jit: bool | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    nvml: Corroboration | None = None
    #: The fleet's worker that the engine belongs to.
    worker: str | None = None


#: Looks at an engine that has just finished a job. Returns at once.
ObserveEngine = Callable[[EngineInfo], EngineFacts]


def see_nothing(engine: EngineInfo) -> EngineFacts:
    """For engines that can't be inspected."""
    return EngineFacts()


def look_at(
    engine: EngineInfo, status: GpuStatus | None, nvml: Callable[[EngineInfo], Corroboration | None]
) -> EngineFacts:
    """The engine's libraries by /proc, its GPU by the probe, and NVML's word."""
    libraries = find_mapped(engine.pid)
    device = _device_of(engine, status)
    if status is None or device is None:
        return EngineFacts(libraries=libraries, nvml=nvml(engine))
    kernels = code_for(status.ctranslate2.kernels, device.compute_capability)
    return EngineFacts(
        partition=partition_of(device),
        kernels=kernels,
        is_jit=None if kernels is None else kernels.startswith("PTX"),
        libraries=libraries,
        nvml=nvml(engine),
    )


def partition_of(device: GpuDevice) -> str:
    """The whole card, or the profile of the MIG slice."""
    if not device.is_mig:
        return WHOLE
    return device.name.partition(" MIG ")[2] or "MIG"


def _device_of(engine: EngineInfo, status: GpuStatus | None) -> GpuDevice | None:
    if engine.device != "cuda" or status is None:
        return None
    return next((device for device in status.devices if device.uuid == engine.device_uuid), None)
