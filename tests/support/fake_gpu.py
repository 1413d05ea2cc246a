"""Builds a stand-in driver and stand-in CUDA libraries, for tests on machines without a GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from transcriber.domain.ports import EngineInfo
from transcriber.gpu.probe.facts import (
    CTranslate2Facts,
    DriverFacts,
    GpuDevice,
    GpuStatus,
    HardwareFacts,
    Library,
    LibraryCandidate,
    ProbeReport,
)
from transcriber.gpu.probe.launcher import judged

DATA = Path(__file__).parents[1] / "data"


def require_gcc() -> None:
    """Skip without gcc on a user's machine; in CI that is a failure."""
    if shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("gcc is missing in CI: apt-get install gcc")
        pytest.skip("gcc is missing: apt-get install gcc")


def compile_library(source: str, target: Path, *flags: str) -> Path:
    """Compile tests/data/SOURCE as a shared library whose soname is the file's name."""
    require_gcc()
    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{target.name}", *flags, "-o", str(target)]
    subprocess.run([*command, str(DATA / source)], check=True, timeout=60)
    return target


def build_driver(folder: Path) -> Path:
    """libcuda.so.1 that answers as FAKE_… variables say (see fakecuda.c)."""
    return compile_library("fakecuda.c", folder / "libcuda.so.1")


def build_cublas(folder: Path, *, major: int = 12) -> Path:
    """A pair libcublas.so.12 and libcublasLt.so.12 that loads and calls itself version MAJOR.9.1."""
    compile_library("fakecublas.c", folder / "libcublasLt.so.12")
    return compile_library("fakecublas.c", folder / "libcublas.so.12", f"-DMAJOR={major}")


def build_nvml(folder: Path) -> Path:
    """libnvidia-ml.so.1 that answers as FAKE_NVML_… variables say (see fakenvml.c)."""
    return compile_library("fakenvml.c", folder / "libnvidia-ml.so.1")


def healthy_environment(folder: Path) -> dict[str, str]:
    """Variables under which the probe finds one usable stand-in GPU, built into this folder."""
    build_driver(folder)
    build_cublas(folder)
    return {"LD_LIBRARY_PATH": str(folder), "FAKE_COUNT": "1"}


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def make_device(**changes: Any) -> GpuDevice:
    """An L4, unless changed."""
    facts: dict[str, Any] = {
        "index": 0,
        "name": "NVIDIA L4",
        "uuid": "GPU-11111111-0000-0000-0000-000000000000",
        "pci_bus_id": "0000:01:00.0",
        "compute_capability": "8.9",
        "memory_bytes": 23 * 1024**3,
        "compute_types": ("float16", "float32", "int8", "int8_float16", "int8_float32"),
    }
    return GpuDevice(**{**facts, **changes})


def make_report(**changes: Any) -> ProbeReport:
    """A healthy machine with one L4, unless changed."""
    cublas = LibraryCandidate(
        path="/venv/nvidia/cublas/lib/libcublas.so.12", found_via="Python package cublas"
    )
    lt = LibraryCandidate(path="/venv/nvidia/cublas/lib/libcublasLt.so.12", found_via="Python package cublas")
    facts: dict[str, Any] = {
        "hardware": HardwareFacts(present=True, found=("PCI 0000:01:00.0",)),
        "driver": make_driver(),
        "devices": (make_device(),),
        "libraries": (
            Library(name="libcublas.so.12", chosen=cublas, candidates=(cublas,)),
            Library(name="libcublasLt.so.12", chosen=lt, candidates=(lt,)),
            Library(name="libcudnn.so.9", needed=False),
        ),
        "ctranslate2": CTranslate2Facts(
            version="4.8.5",
            cuda_compiled=True,
            needs_cudnn=False,
            cpu_compute_types=("float32", "int8", "int8_float32"),
        ),
        "checked_at": NOW,
        "probe_seconds": 0.5,
    }
    return ProbeReport(**{**facts, **changes})


def make_driver(**changes: Any) -> DriverFacts:
    """A driver 570 that works, unless changed."""
    facts: dict[str, Any] = {
        "loaded": True,
        "libcuda_path": "/usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06",
        "version_number": 12080,
        "version": "CUDA 12.8",
        "init_code": 0,
        "count_code": 0,
        "device_count": 1,
        "kernel_module_version": "570.124.06",
    }
    return DriverFacts(**{**facts, **changes})


def make_status(**changes: Any) -> GpuStatus:
    """The judged report."""
    return judged(make_report(**changes))


def make_status_without_driver() -> GpuStatus:
    """A machine with neither driver nor GPU."""
    return make_status(
        hardware=HardwareFacts(present=False),
        driver=DriverFacts(
            load_error="libcuda.so.1: cannot open shared object file: No such file or directory"
        ),
        devices=(),
    )


def make_engine(**changes: Any) -> EngineInfo:
    """A GPU engine that has proven itself, unless changed."""
    facts: dict[str, Any] = {
        "pid": 4242,
        "device": "cuda",
        "device_index": 0,
        "device_name": "NVIDIA L4",
        "device_uuid": "GPU-11111111-0000-0000-0000-000000000000",
        "model": "base",
        "compute_type": "float16",
        "requested_compute_type": "float16",
        "supported_compute_types": ("float16", "float32"),
        "started_at": NOW,
        "load_seconds": 1.0,
        "warmup_seconds": 0.2,
        "warmup_device": "cuda",
    }
    return EngineInfo(**{**facts, **changes})
