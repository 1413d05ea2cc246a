"""Where work will run now, as the pages show it in one badge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .extensions import application


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """kind: 'gpu' (proven), 'cpu' (as wanted), 'degraded' (in place of a wanted GPU), 'failed' or 'starting'."""

    kind: str
    name: str | None
    #: code, message and fix.
    reason: Mapping[str, Any] | None


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
    return DeviceState(kind=kind, name=None, reason=reason)
