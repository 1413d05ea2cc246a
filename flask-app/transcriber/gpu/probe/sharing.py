"""How a GPU is shared, and how full it is: facts for people to read. Pure.

NVML gives most of them, and NVML fails or lies by design in containers, under MIG and under MPS. So a fact may be
absent, with the reason, and no absence is ever a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class SharingFacts:
    """One GPU or MIG slice as NVML and the system show it. None: not available, see `unavailable`."""

    nvml_driver: str | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    #: Whether the card is cut into slices, and this slice's profile, as '1g.10gb'.
    mig_mode: str | None = None
    mig_profile: str | None = None
    #: default, exclusive_thread, prohibited or exclusive_process.
    compute_mode: str | None = None
    #: Processes with compute work on it that are not of this service.
    other_processes: int | None = None
    #: Those of them that have no such number here: in another container, or ours under the host's number.
    unseen_processes: int | None = None
    #: Those of this service: from the process's number to its bytes on the GPU; None where NVML does not say.
    own_processes: Mapping[str, int | None] = field(default_factory=dict)
    #: Where MPS was seen; empty: nowhere.
    mps_signs: tuple[str, ...] = ()
    #: none, passthrough, vgpu, host_vgpu or host_vsga.
    virtualization: str | None = None
    is_wsl: bool = False
    utilization_percent: int | None = None
    #: Energy since the driver was loaded, in millijoules.
    energy_millijoules: int | None = None
    temperature_celsius: int | None = None
    #: When NVML was asked, where that was after the probe.
    read_at: str | None = None
    #: From the name of a fact, or 'nvml' for all of NVML's, to why it is not available here.
    unavailable: Mapping[str, str] = field(default_factory=dict)


def describe(facts: SharingFacts) -> str:
    """How the GPU is shared, in a few words."""
    ways = [*_ways_of_cutting(facts), *_ways_of_company(facts)]
    return "; ".join(ways)


def _ways_of_cutting(facts: SharingFacts) -> list[str]:
    ways = []
    if facts.mig_profile:
        ways.append(f"a MIG slice {facts.mig_profile}")
    elif facts.mig_mode == "on":
        ways.append("MIG is on")
    if facts.virtualization in ("vgpu", "passthrough"):
        ways.append(
            {"vgpu": "a vGPU", "passthrough": "passed through to this virtual machine"}[facts.virtualization]
        )
    if facts.is_wsl:
        ways.append("shared with Windows (WSL)")
    if facts.compute_mode not in (None, "default"):
        ways.append(f"compute mode {facts.compute_mode}")
    return ways


def _ways_of_company(facts: SharingFacts) -> list[str]:
    if facts.mps_signs:
        return [f"MPS ({', '.join(facts.mps_signs)}): NVML shows its server in place of the programs"]
    if facts.other_processes is None:
        return [f"other processes not known: {_why(facts, 'other_processes')}"]
    if facts.other_processes == 0:
        return ["no other process on it"]
    unseen = f", {facts.unseen_processes} of them not visible from here" if facts.unseen_processes else ""
    noun = "process" if facts.other_processes == 1 else "processes"
    return [f"time-sliced with {facts.other_processes} other {noun}{unseen}"]


def _why(facts: SharingFacts, name: str) -> str:
    return facts.unavailable.get(name) or facts.unavailable.get("nvml") or "NVML was not asked"
