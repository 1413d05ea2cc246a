"""The parent's side of the probe: starts the child, reads what it found, and keeps the last answer.

CTranslate2 and libcuda are never loaded here; a driver that aborts or hangs ends a child only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...domain.ports import Clock
from ..environment import child_environment
from .facts import (
    CTranslate2Facts,
    DriverFacts,
    GpuDevice,
    GpuStatus,
    Library,
    LibraryCandidate,
    ProbeReport,
)
from .hardware import find_hardware, find_kernel_module_version
from .kernels import Kernels
from .sharing import SharingFacts
from .verdict import judge

#: The steps of the child, in order; the one after the last report is where it stopped.
STEPS = ("package", "libraries", "driver", "cuda", "devices", "sharing", "compute_types")


@dataclass(frozen=True, kw_only=True)
class ProbeRequest:
    """What to look for and where. `site_packages` None: those of this Python."""

    environ: Mapping[str, str]
    gpu_device: str = "0"
    extra_lib_dirs: tuple[Path, ...] = ()
    timeout_seconds: float = 30.0
    #: None: as long as the child gives NVML. What calls the driver is not imported here, not even for a number.
    nvml_timeout_seconds: float | None = None
    site_packages: tuple[Path, ...] | None = None
    root: Path = Path("/")
    gpu_compute_type: str = "auto"
    strict_matrix: bool = False


@dataclass(frozen=True, slots=True)
class _Output:
    """What the child left: whole lines, and how it ended if it ended early."""

    lines: tuple[str, ...]
    stopped_how: str | None


def probe(request: ProbeRequest, clock: Clock) -> GpuStatus:
    """Look at this machine's GPUs, in a child that is given `timeout_seconds`."""
    begun = clock.monotonic()
    output = _run_child(request)
    merged, last_step = _merge(output.lines)
    report = ProbeReport(
        hardware=find_hardware(request.root),
        driver=replace(
            DriverFacts(**merged.get("driver", {})),
            kernel_module_version=find_kernel_module_version(request.root),
        ),
        devices=_devices(merged.get("devices", [])),
        libraries=_libraries(merged.get("libraries", [])),
        ctranslate2=_ctranslate2(merged.get("ctranslate2", {})),
        gpu_device=request.gpu_device,
        visible_devices=request.environ.get("CUDA_VISIBLE_DEVICES"),
        gpu_compute_type=request.gpu_compute_type,
        strict_matrix=request.strict_matrix,
        stopped_step=_step_after(last_step) if output.stopped_how else None,
        stopped_how=output.stopped_how,
        checked_at=clock.now(),
        probe_seconds=round(clock.monotonic() - begun, 3),
    )
    return judged(report)


def judged(report: ProbeReport) -> GpuStatus:
    """The facts with the device that was asked for and the verdict."""
    report = replace(report, selected=find_selected(report.devices, report.gpu_device))
    problems, notes = judge(report)
    facts = {field.name: getattr(report, field.name) for field in fields(ProbeReport)}
    cause = problems[0] if problems else None
    return GpuStatus(**facts, usable=cause is None, cause=cause, problems=problems, notes=notes)


def find_selected(devices: tuple[GpuDevice, ...], gpu_device: str) -> GpuDevice | None:
    """The device with this index in PCI order, or with this UUID (or the beginning of just one)."""
    if gpu_device.isdecimal():
        return next((device for device in devices if device.index == int(gpu_device)), None)
    wanted = gpu_device.lower()
    matches = [device for device in devices if wanted and device.uuid.lower().startswith(wanted)]
    return matches[0] if len(matches) == 1 else None


def _run_child(request: ProbeRequest) -> _Output:
    arguments = {
        "extra_lib_dirs": [str(folder) for folder in request.extra_lib_dirs],
        "site_packages": None if request.site_packages is None else [str(p) for p in request.site_packages],
        "root": str(request.root),
        "nvml_timeout_seconds": request.nvml_timeout_seconds,
    }
    lifeline, held = os.pipe()
    try:
        command = [
            sys.executable,
            "-P",
            "-m",
            "transcriber.gpu.probe.main",
            str(lifeline),
            json.dumps(arguments),
        ]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(request.environ),
            pass_fds=(lifeline,),
        )
        return _await_child(child, request.timeout_seconds)
    finally:
        os.close(lifeline)
        os.close(held)


def _await_child(child: subprocess.Popen[bytes], timeout_seconds: float) -> _Output:
    try:
        out, err = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return _Output(_whole_lines(_last_output(child)), f"no answer within {timeout_seconds:g} s")
    words = err.decode(errors="replace").strip().rpartition("\n")[2][-300:]
    ended = f"the probe ended with status {child.returncode}" + (f": {words}" if words else "")
    return _Output(_whole_lines(out), ended if child.returncode != 0 else None)


def _last_output(child: subprocess.Popen[bytes]) -> bytes:
    """What a killed child wrote; a process stuck inside the kernel may not even end."""
    try:
        return child.communicate(timeout=2)[0]
    except subprocess.TimeoutExpired as error:
        return error.output or b""


def _whole_lines(out: bytes) -> tuple[str, ...]:
    return tuple(line for line in out.decode(errors="replace").split("\n")[:-1] if line)


def _merge(lines: tuple[str, ...]) -> tuple[dict[str, Any], str | None]:
    """The facts of all steps, later ones over earlier ones, and the last step that reported."""
    merged: dict[str, Any] = {}
    for line in lines:
        merged.update(json.loads(line))
    return merged, merged.get("step")


def _step_after(last: str | None) -> str:
    following = STEPS[STEPS.index(last) + 1 :] if last else STEPS
    return following[0] if following else STEPS[-1]


def _devices(rows: list[dict[str, Any]]) -> tuple[GpuDevice, ...]:
    return tuple(
        GpuDevice(
            **{**row, "compute_types": tuple(row["compute_types"]), "sharing": _sharing(row.get("sharing"))}
        )
        for row in rows
    )


def _sharing(row: dict[str, Any] | None) -> SharingFacts | None:
    return None if row is None else SharingFacts(**{**row, "mps_signs": tuple(row["mps_signs"])})


def _libraries(rows: list[dict[str, Any]]) -> tuple[Library, ...]:
    return tuple(
        Library(
            name=row["name"],
            needed=row["needed"],
            chosen=LibraryCandidate(**row["chosen"]) if row["chosen"] else None,
            candidates=tuple(LibraryCandidate(**candidate) for candidate in row["candidates"]),
        )
        for row in rows
    )


def _ctranslate2(row: dict[str, Any]) -> CTranslate2Facts:
    types, kernels = row.get("cpu_compute_types", ()), row.get("kernels", {})
    return CTranslate2Facts(**{**row, "cpu_compute_types": tuple(types), "kernels": _kernels(kernels)})


def _kernels(row: dict[str, Any]) -> Kernels:
    return Kernels(
        machine_code=tuple(row.get("machine_code", ())),
        ptx=tuple(row.get("ptx", ())),
        ptx_isa=row.get("ptx_isa"),
    )


class GpuProbe:
    """Remembers the last probe; one caller at a time asks anew, the others wait for its answer."""

    def __init__(
        self,
        request: ProbeRequest,
        clock: Clock,
        look: Callable[[ProbeRequest, Clock], GpuStatus] = probe,
    ) -> None:
        self._look = look
        self._request = request
        self._clock = clock
        self._lock = threading.Lock()
        self._last: GpuStatus | None = None
        self._last_at = 0.0

    @property
    def last(self) -> GpuStatus | None:
        """The last answer, however old; never starts a probe."""
        return self._last

    def status(self, max_age: float | None = None) -> GpuStatus:
        """An answer at most `max_age` seconds old; None takes any. Probes when there is no such."""
        with self._lock:
            age = self._clock.monotonic() - self._last_at
            if self._last is None or (max_age is not None and age > max_age):
                self._last = self._look(self._request, self._clock)
                self._last_at = self._clock.monotonic()
            return self._last


def as_dict(status: GpuStatus) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    return {
        **asdict(status),
        "checked_at": status.checked_at.isoformat(),
        "library_dirs": list(status.library_dirs),
    }
