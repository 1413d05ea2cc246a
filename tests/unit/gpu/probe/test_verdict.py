"""From facts to verdict: each fault has its own code, and the deciding one comes first."""

from __future__ import annotations

from typing import Any

import pytest

from fake_gpu import make_device, make_driver, make_report, make_status, make_status_without_driver
from transcriber.gpu.probe.facts import (
    CTranslate2Facts,
    DriverFacts,
    HardwareFacts,
    Library,
    LibraryCandidate,
)
from transcriber.gpu.probe.verdict import judge

MISSING = "libcuda.so.1: cannot open shared object file: No such file or directory"


def _candidate(code: str | None, why: str = "why") -> LibraryCandidate:
    return LibraryCandidate(path="/x/libcublas.so.12", found_via="conda", rejected=why, rejected_code=code)


def _cublas(*candidates: LibraryCandidate) -> dict[str, Any]:
    return {"libraries": (Library(name="libcublas.so.12", candidates=candidates),)}


def test_healthy_gpu_is_usable() -> None:
    status = make_status()

    assert status.usable
    assert (status.cause, status.problems, status.notes) == (None, (), ())
    assert status.selected == make_device()
    assert status.library_dirs == ("/venv/nvidia/cublas/lib",)


def test_machine_without_driver_says_so_and_nothing_else() -> None:
    status = make_status_without_driver()

    assert [problem.code for problem in status.problems] == ["no_nvidia_gpu"]
    assert status.cause is not None
    assert "no NVIDIA driver on this machine" in status.cause.message


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"driver": DriverFacts(load_error=MISSING)}, "no_nvidia_driver"),
        (
            {"driver": DriverFacts(load_error="/x/libcuda.so.1: invalid ELF header", libcuda_path="/x")},
            "libcuda_unloadable",
        ),
        (
            {"driver": DriverFacts(load_error="libz.so.9: cannot open shared object file: No such file")},
            "libcuda_unloadable",
        ),
        ({"driver": make_driver(init_code=802)}, "cuda_not_ready"),
        ({"driver": make_driver(init_code=4242)}, "cuda_error_4242"),
        ({"driver": make_driver(count_code=803)}, "cuda_driver_mismatch"),
        ({"driver": make_driver(init_code=100)}, "cuda_no_device"),
        ({"driver": make_driver(init_code=100), "visible_devices": "-1"}, "cuda_devices_hidden"),
        (
            {"driver": make_driver(device_count=0), "devices": (), "visible_devices": ""},
            "cuda_devices_hidden",
        ),
        ({"driver": make_driver(device_count=0), "devices": ()}, "no_cuda_devices"),
        ({"driver": make_driver(version_number=11080, version="CUDA 11.8")}, "driver_too_old"),
        ({"gpu_device": "7"}, "gpu_device_not_found"),
        ({"gpu_device": "GPU-ffff"}, "gpu_device_not_found"),
        ({"devices": (make_device(compute_capability="5.2"),)}, "cuda_no_kernel_image"),
        ({"ctranslate2": CTranslate2Facts(version="4.8.5", cuda_compiled=False)}, "ctranslate2_without_cuda"),
        (
            {"ctranslate2": CTranslate2Facts(import_error="No module named 'ctranslate2'")},
            "ctranslate2_missing",
        ),
        (_cublas(), "cublas_missing"),
        (_cublas(_candidate("foreign")), "cublas_foreign"),
        (_cublas(_candidate("broken")), "cublas_broken"),
        (_cublas(_candidate("lt_missing")), "cublaslt_missing"),
        (_cublas(_candidate("lt_broken")), "cublaslt_broken"),
        (_cublas(_candidate("lt_mismatch")), "cublas_lt_mismatch"),
        (_cublas(_candidate("wrong_version")), "cublas_wrong_version"),
        (_cublas(_candidate("foreign"), _candidate("broken")), "cublas_broken"),
        ({"libraries": (Library(name="libcudnn.so.9"),)}, "cudnn_missing"),
        (
            {"devices": (make_device(compute_types_error="CUDA failed with error out of memory"),)},
            "cuda_out_of_memory",
        ),
        ({"stopped_step": "cuda", "stopped_how": "no answer within 30 s"}, "gpu_probe_timeout"),
        ({"stopped_step": "cuda", "stopped_how": "the probe ended with status -6"}, "gpu_probe_crashed"),
    ],
)
def test_each_fault_decides_with_its_own_code(changes: dict[str, Any], code: str) -> None:
    status = make_status(**changes)

    assert not status.usable
    assert status.cause is not None
    assert status.cause.code == code
    assert status.cause.fix


def test_all_faults_are_listed_and_the_drivers_comes_first() -> None:
    problems, _ = judge(
        make_report(driver=make_driver(version_number=11040, version="CUDA 11.4"), **_cublas())
    )

    assert [problem.code for problem in problems] == [
        "driver_too_old",
        "gpu_device_not_found",
        "cublas_missing",
    ]


def test_old_driver_on_hopper_is_noted_and_left_to_the_engines_proof() -> None:
    status = make_status(
        driver=make_driver(version_number=12040, version="CUDA 12.4"),
        devices=(make_device(compute_capability="9.0", name="NVIDIA H100"),),
    )

    assert status.usable
    assert [note.code for note in status.notes] == ["driver_too_old_for_gpu"]
    assert "570" in status.notes[0].fix


def test_answer_that_names_no_cause_is_noted_and_left_to_the_engines_proof() -> None:
    status = make_status(devices=(make_device(compute_types_error="something new"),))

    assert status.usable
    assert [note.code for note in status.notes] == ["ctranslate2_refused"]


def test_crashed_probe_on_a_machine_without_hardware_is_not_called_a_missing_driver() -> None:
    status = make_status(
        hardware=HardwareFacts(present=False),
        driver=DriverFacts(),
        devices=(),
        stopped_step="package",
        stopped_how="no answer within 1 s",
    )

    assert status.cause is not None
    assert status.cause.code == "gpu_probe_timeout"
