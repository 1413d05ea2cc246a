"""The use cases of diagnostics: look at a service that runs, examine an installation that does not, note a start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import ConfigError
from ..domain.ports import Clock
from ..domain.transcript import FallbackReason, Receipt
from ..engine.selftest.health_check import HealthCheck
from ..gpu.drift import diff
from ..gpu.monitor import GpuMonitor, refreshed
from ..gpu.policy import GpuSituation
from ..gpu.probe.facts import GpuStatus
from ..gpu.snapshot import UNVERIFIED, Snapshot, take
from ..gpu.snapshot_store import SnapshotStore
from ..media.decoder import SandboxedDecoder
from ..models.catalogue import canonical_name, find_model
from ..models.finder import LocalModel, ModelFinder
from ..service.model_manager import ModelManager
from ..service.readiness import DefaultModel, reason_of
from ..system.durable_files import find_folder_fault
from ..system.threads import InThread
from .diagnostics import Diagnostics, Sources, collect, find_versions
from .pipeline_check import check_decoder

logger = structlog.get_logger(__name__)

WEB_NODE = (
    "This web node transcribes nothing itself; /diagnostics of the running node shows the workers that do."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosticsParts:
    """What is looked at. settings: as they may be shown."""

    settings: Sequence[Mapping[str, Any]]
    cpu_compute_type: str
    batch_size: int
    data_dir: Path
    monitor: GpuMonitor
    decoder: SandboxedDecoder
    models: ModelFinder
    default_model: DefaultModel
    model_manager: ModelManager
    canary: HealthCheck
    clock: Clock
    in_thread: InThread
    #: WHISPER_ROLE.
    role: str = "all"
    #: Why the database can't be used.
    find_store_fault: Callable[[], ConfigError | None] = lambda: None


class DiagnosticsCollector:
    """Facts about one installation, and what it computed with at its last starts."""

    def __init__(self, parts: DiagnosticsParts) -> None:
        self._parts = parts
        self._snapshots = SnapshotStore(parts.data_dir / "snapshots")
        self._last_start: Snapshot | None = None

    def record_start(self, status: GpuStatus) -> None:
        """Store what this start computes with; diagnostics shows what changed since the start before it."""
        self._last_start = self._parts.in_thread(self._snapshots.last)
        snapshot, now = self._snapshot(status), self._parts.clock.now()
        for change in diff(self._last_start, snapshot) if self._last_start else ():
            logger.warning("capability_changed", **asdict(change))
        try:
            self._parts.in_thread(lambda: self._snapshots.save(snapshot, now))
        except OSError as error:
            logger.warning("snapshot_not_stored", error=str(error))

    def look(
        self,
        situation: GpuSituation,
        problems: tuple[FallbackReason, ...],
        last_receipt: Callable[[], tuple[str, Receipt] | None] | None = None,
    ) -> Diagnostics:
        """The facts now. last_receipt: of the service's newest job; None: no service runs here."""
        parts = self._parts
        parts.monitor.nudge()
        situation = replace(situation, status=refreshed(situation.status, parts.monitor.newest))
        sandbox = parts.decoder.sandbox_status()
        receipt = last_receipt() if last_receipt else None
        snapshot = self._snapshot(situation.status)
        before = self._last_start if last_receipt else self._snapshots.last()
        return collect(
            Sources(
                gpu=situation,
                cpu_compute_type=parts.cpu_compute_type,
                now=parts.clock.now(),
                age=parts.clock.age,
                settings=parts.settings,
                models=[asdict(model) | {"path": str(model.path)} for model in parts.models.present()],
                last_receipt=receipt[1] if receipt else None,
                last_job_id=receipt[0] if receipt else None,
                versions=find_versions(),
                media_sandbox=asdict(sandbox) if sandbox else {},
                problems=problems,
                snapshot=snapshot,
                changes=diff(before, snapshot) if before else (),
                model=canonical_name(parts.default_model.name),
                batch_size=parts.batch_size,
                selftests=parts.canary.facts(),
                unloaded=parts.model_manager.unloaded(),
                model_memory=parts.model_manager.memory(),
            )
        )

    def examine(self, situation: GpuSituation) -> Diagnostics:
        """The facts about an installation whose service does not run; changes nothing to find out."""
        parts = self._parts
        try:
            decoding = check_decoder(parts.decoder, parts.clock.now())
        finally:
            parts.decoder.close()
        found = (
            parts.default_model.fault(),
            _reason(find_folder_fault(parts.data_dir, "WHISPER_DATA_DIR")),
            _reason(parts.find_store_fault()),
            decoding.error,
        )
        faults = tuple(fault for fault in found if fault is not None)
        found_now = replace(self.look(situation, faults), role=parts.role, pipeline=[decoding.to_dict()])
        if parts.role != "web" or faults:
            return found_now
        # Whatever this machine has, no job runs here.
        return replace(found_now, verdict=WEB_NODE, status="ok", problems=[], notes=[])

    def _snapshot(self, status: GpuStatus) -> Snapshot:
        hashes = {model.name: _hash_of(model) for model in self._parts.models.present()}
        return take(status, find_versions(), hashes)


def _reason(fault: ConfigError | None) -> FallbackReason | None:
    return None if fault is None else reason_of(fault)


def _hash_of(model: LocalModel) -> str:
    """The pinned hash of verified weights; of others what is known without reading gigabytes."""
    row = find_model(model.name)
    if row is not None and model.verified:
        return row.sha256["model.bin"]
    return f"{UNVERIFIED}, {model.size_bytes} bytes"
