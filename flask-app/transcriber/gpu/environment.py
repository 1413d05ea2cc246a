"""The environment an engine child starts with. glibc reads LD_LIBRARY_PATH only at start, so it is built before."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..system.paths import PACKAGE_PARENT
from .probe.facts import GpuStatus

_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

_SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)$", re.IGNORECASE)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables less those whose names speak of a key, token, secret or password."""
    return {name: value for name, value in environ.items() if not _SECRET_NAME.search(name)}


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for a child of ours that asks driver or NVML."""
    paths = [str(PACKAGE_PARENT), environ.get("PYTHONPATH", "")]
    return {
        **without_secrets(environ),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def engine_environment(
    base_environ: Mapping[str, str], *, device: str, status: GpuStatus, cache_dir: Path
) -> dict[str, str]:
    """Variables for an engine on 'cuda' (the selected GPU and no other) or on 'cpu' (no GPU at all)."""
    environ = without_secrets(base_environ)
    for name, value in allocator_variables(huge_pages=_offers_huge_pages(_HUGE_PAGES)).items():
        environ.setdefault(name, value)
    environ.setdefault("TMPDIR", str(cache_dir))  # weights that are loaded again; /tmp may lie in memory
    environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would report to its maker over the network
    if device != "cuda":
        return environ | {"CUDA_VISIBLE_DEVICES": ""}
    if status.selected is not None:
        environ["CUDA_VISIBLE_DEVICES"] = status.selected.uuid
    environ["LD_LIBRARY_PATH"] = _library_path(base_environ, status)
    environ.setdefault("CUDA_CACHE_PATH", str(cache_dir / "cuda"))
    return environ


def allocator_variables(*, huge_pages: bool) -> dict[str, str]:
    """How the C library keeps the memory of an engine, whose lanes take and free tensors of up to 100 MB for every layer.

    Left alone, glibc gives each of them back and makes its pages anew, which is a third of the encoder's time on a CPU.
    Where the kernel has huge pages to give, that costs next to nothing, and saves memory; elsewhere what is freed stays
    for the next layer until the batch is over (engine/child/memory.py). One arena, as each keeps what was freed in it.
    """
    if huge_pages:
        return {
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        }
    return {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    }


def _offers_huge_pages(path: Path) -> bool:
    """Whether the kernel's setting lets a process ask for them."""
    try:
        return "[never]" not in path.read_text()
    except OSError:
        return False


def _library_path(environ: Mapping[str, str], status: GpuStatus) -> str:
    """The chosen libraries' folders, the operator's, and last the driver's where the linker misses it."""
    operators = [folder for folder in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    extra = [status.driver.extra_dir] if status.driver.extra_dir else []
    return os.pathsep.join(dict.fromkeys([*status.library_dirs, *operators, *extra]))
