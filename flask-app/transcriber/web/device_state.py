"""Where work will run now, as the pages show it in one badge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .extensions import application

#: Reasons for the CPU that say that no GPU is there, or that none is wanted.
WITHOUT_HARDWARE = frozenset({"no_nvidia_gpu", "cuda_no_device", "no_cuda_devices", "gpu_policy_off"})


def gpu_is_expected(policy: str, device: str) -> bool:
    """Whether the settings say that work should run on a GPU."""
    return policy == "required" or (policy != "off" and device == "cuda")


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """kind: 'gpu' (proven), 'cpu' (as wanted), 'degraded' (in place of a wanted GPU), 'failed' or 'starting'."""

    kind: str
    name: str | None
    #: code, message and fix.
    reason: Mapping[str, Any] | None
    #: Whether a GPU was to be expected: by the settings, or because the hardware is there.
    expects_gpu: bool = False


def device_state() -> DeviceState:
    """By the same facts as the health routes; asks no hardware."""
    app = application()
    _, gpu = app.gpu_health()
    _, readiness = app.ready()
    status = readiness["status"]
    if gpu.get("gpu_proven") and status == "ok":
        return DeviceState(kind="gpu", name=gpu.get("device_name"), reason=None)
    kind = "cpu" if status == "ok" else status
    reason = readiness.get("error") or readiness.get("fallback_reason") or gpu.get("fallback_reason")
    has_hardware = reason is not None and reason["code"] not in WITHOUT_HARDWARE
    expects = gpu_is_expected(app.settings.gpu_policy, app.settings.device) or has_hardware
    return DeviceState(kind=kind, name=None, reason=reason, expects_gpu=expects)
