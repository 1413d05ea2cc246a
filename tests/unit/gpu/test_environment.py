"""The environment of an engine child: the right libraries, one GPU or none, and no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_gpu import make_device, make_driver, make_status
from transcriber.gpu.environment import allocator_variables, engine_environment, without_secrets

CACHE = Path("/var/cache/transcriber")


def test_gpu_engine_sees_the_selected_gpu_and_the_chosen_libraries_first() -> None:
    devices = (make_device(), make_device(index=1, uuid="GPU-2222"))
    status = make_status(devices=devices, gpu_device="1")

    environ = engine_environment(
        {"LD_LIBRARY_PATH": "/opt/own:", "CUDA_VISIBLE_DEVICES": "0,1"},
        device="cuda",
        status=status,
        cache_dir=CACHE,
    )

    assert environ["CUDA_VISIBLE_DEVICES"] == "GPU-2222"
    assert environ["LD_LIBRARY_PATH"] == "/venv/nvidia/cublas/lib:/opt/own"
    assert environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environ["CUDA_CACHE_PATH"] == "/var/cache/transcriber/cuda"


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_engine_reports_to_nobody(device: str) -> None:
    environ = engine_environment(
        {"ORT_DISABLE_TELEMETRY": "0"}, device=device, status=make_status(), cache_dir=CACHE
    )

    assert environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_drivers_folder_comes_last_where_the_linker_misses_it() -> None:
    status = make_status(driver=make_driver(extra_dir="/usr/lib/wsl/lib"))

    environ = engine_environment({}, device="cuda", status=status, cache_dir=CACHE)

    assert environ["LD_LIBRARY_PATH"].split(":") == ["/venv/nvidia/cublas/lib", "/usr/lib/wsl/lib"]


def test_cpu_engine_sees_no_gpu_and_keeps_the_operators_path() -> None:
    base = {"LD_LIBRARY_PATH": "/opt/own", "CUDA_VISIBLE_DEVICES": "0"}

    environ = engine_environment(base, device="cpu", status=make_status(), cache_dir=CACHE)

    assert (environ["CUDA_VISIBLE_DEVICES"], environ["LD_LIBRARY_PATH"]) == ("", "/opt/own")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_engine_gets_no_secrets_and_keeps_the_rest(device: str) -> None:
    base = {"WHISPER_API_KEY": "k", "HF_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s", "DB_PASSWORD": "p"}
    kept = {"CT2_VERBOSE": "1", "PATH": "/bin", "KEYBOARD": "us"}

    environ = engine_environment({**base, **kept}, device=device, status=make_status(), cache_dir=CACHE)

    assert not base.keys() & environ.keys()
    assert kept.items() <= environ.items()


def test_secret_names_in_any_case_are_dropped() -> None:
    assert without_secrets({"my_token": "1", "Secret": "2", "TOKENS_PER_SECOND": "3"}) == {
        "TOKENS_PER_SECOND": "3"
    }


def test_engine_keeps_one_arena_and_the_operators_own_choice() -> None:
    status = make_status()

    usual = engine_environment({}, device="cpu", status=status, cache_dir=CACHE)
    chosen = engine_environment(
        {"MALLOC_ARENA_MAX": "8", "TMPDIR": "/fast"}, device="cpu", status=status, cache_dir=CACHE
    )

    assert (usual["MALLOC_ARENA_MAX"], usual["TMPDIR"]) == ("1", str(CACHE))
    assert (chosen["MALLOC_ARENA_MAX"], chosen["TMPDIR"]) == ("8", "/fast")


def test_freed_tensors_go_back_at_once_only_where_pages_are_huge() -> None:
    huge = allocator_variables(huge_pages=True)
    small = allocator_variables(huge_pages=False)

    assert (huge["GLIBC_TUNABLES"], huge["MALLOC_MMAP_THRESHOLD_"]) == ("glibc.malloc.hugetlb=1", "8388608")
    assert "GLIBC_TUNABLES" not in small
    assert int(small["MALLOC_MMAP_THRESHOLD_"]) > 100 << 20
    assert int(small["MALLOC_TRIM_THRESHOLD_"]) > 100 << 20
