"""What NVML says of an engine that says it computed on the GPU. It corroborates; it never decides. Pure.

NVML lists other numbers in containers, its own server under MPS, and nothing under WSL, so most silences mean nothing.
"""

from __future__ import annotations

from ...domain.transcript import Corroboration
from ..probe.sharing import SharingFacts

AGREES, DISAGREES, NOT_AVAILABLE = "agrees", "disagrees", "not_available"


def corroborate(facts: SharingFacts, pid: int) -> Corroboration:
    """NVML's word on whether the engine of this number is on the GPU."""
    silence = _why_silent(facts)
    if silence is not None:
        return Corroboration(verdict=NOT_AVAILABLE, why=silence)
    own = facts.own_processes
    if str(pid) in own:
        size = own[str(pid)]
        memory = "" if size is None else f" with {size / 1_000_000:.0f} MB"
        return Corroboration(verdict=AGREES, why=f"NVML lists the engine, process {pid}, on this GPU{memory}")
    veil = _why_veiled(facts)
    if veil is not None:
        return Corroboration(verdict=NOT_AVAILABLE, why=veil)
    return Corroboration(
        verdict=DISAGREES,
        why=f"NVML lists the processes on this GPU, and the engine, process {pid}, is none of them",
    )


def not_asked(why: str) -> Corroboration:
    """NVML says nothing about this engine."""
    return Corroboration(verdict=NOT_AVAILABLE, why=why)


def _why_silent(facts: SharingFacts) -> str | None:
    """Why NVML gives no list of processes at all."""
    if "nvml" in facts.unavailable:
        return facts.unavailable["nvml"]
    if facts.other_processes is None:
        return facts.unavailable.get("other_processes", "NVML gave no list of processes")
    return None


def _why_veiled(facts: SharingFacts) -> str | None:
    """Why an engine that is on the GPU may be missing in NVML's list."""
    if facts.mps_signs:
        return "under MPS, NVML lists MPS's server in place of the programs"
    if facts.is_wsl:
        return "under WSL, NVML does not list Linux programs"
    if facts.unseen_processes:
        return (
            f"NVML lists {facts.unseen_processes} under numbers that are not of this container; "
            "the engine may be one of them"
        )
    return None
