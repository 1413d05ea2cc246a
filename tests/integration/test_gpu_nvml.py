"""The real probe against a stand-in NVML beside a stand-in driver: facts, refusals, and never a red line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import build_nvml, healthy_environment, make_device, make_status
from transcriber.config import loader
from transcriber.gpu.environment import engine_environment
from transcriber.gpu.policy import GpuSituation
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.probe.launcher import ProbeRequest, probe
from transcriber.gpu.probe.nvml_errors import meaning
from transcriber.gpu.probe.sharing import SharingFacts, describe
from transcriber.gpu.snapshot_store import SnapshotStore
from transcriber.server.bootstrap import Composition
from transcriber.system.clock import SystemClock

ROOT = Path(__file__).parents[2]
UUID = "fafafafa-fafa-fafa-fafa-fafafafafa0"
MIG = {"FAKE_NAME": "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "FAKE_CC": "80", "FAKE_COUNT": "2"}
NVML_FACTS = {
    "free_bytes": "MEMORY",
    "other_processes": "PROCESSES",
    "mig_mode": "MIG",
    "compute_mode": "COMPUTE",
    "virtualization": "VIRTUALIZATION",
    "utilization_percent": "UTILIZATION",
    "energy_millijoules": "ENERGY",
    "temperature_celsius": "TEMPERATURE",
}

Look = Callable[..., GpuStatus]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    healthy_environment(folder)
    return folder


@pytest.fixture(scope="module")
def with_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with nvml")
    healthy_environment(folder)
    build_nvml(folder)
    return folder


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Probe with the libraries of a folder and these variables."""

    def look(folder: Path, gpu_device: str = "0", nvml_timeout: float = 8, **variables: str) -> GpuStatus:
        hidden = ("CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY", "CONDA_PREFIX")
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        environ |= {"LD_LIBRARY_PATH": str(folder), "FAKE_COUNT": "1", **variables}
        request = ProbeRequest(
            environ=environ,
            gpu_device=gpu_device,
            nvml_timeout_seconds=nvml_timeout,
            site_packages=(),
            root=tmp_path / "empty machine",
        )
        return probe(request, SystemClock())

    return look


def _sharing(status: GpuStatus) -> SharingFacts:
    assert status.usable
    assert status.selected is not None
    assert status.selected.sharing is not None
    return status.selected.sharing


def test_all_facts_of_a_whole_card(look: Look, with_nvml: Path) -> None:
    facts = _sharing(look(with_nvml, FAKE_NVML_COMPUTE_MODE="3", FAKE_NVML_VIRTUAL="2"))

    assert facts == SharingFacts(
        nvml_driver="570.124.06",
        free_bytes=6000 << 20,
        total_bytes=8192 << 20,
        mig_mode="off",
        compute_mode="exclusive_process",
        other_processes=0,
        unseen_processes=0,
        virtualization="vgpu",
        utilization_percent=37,
        energy_millijoules=5_000_000_000,
        temperature_celsius=61,
    )


def test_processes_of_others_count_and_ours_do_not(look: Look, with_nvml: Path) -> None:
    pids = f"1,{os.getpid()},{2**22 + 5}"

    facts = _sharing(look(with_nvml, FAKE_NVML_PIDS=pids))

    assert (facts.other_processes, facts.unseen_processes) == (2, 1)
    assert describe(facts) == "time-sliced with 2 other processes, 1 of them not visible from here"


def test_mps_server_is_known_by_its_name(look: Look, with_nvml: Path) -> None:
    program = "/usr/bin/nvidia-cuda-mps-server"

    facts = _sharing(look(with_nvml, FAKE_NVML_PIDS=str(2**22 + 5), FAKE_NVML_PROGRAM=program))

    assert facts.mps_signs == ("nvidia-cuda-mps-server is on it",)
    assert _sharing(look(with_nvml, CUDA_MPS_PIPE_DIRECTORY="/x")).mps_signs == (
        "CUDA_MPS_PIPE_DIRECTORY=/x",
    )


def test_name_that_may_not_be_asked_is_no_fault(look: Look, with_nvml: Path) -> None:
    facts = _sharing(look(with_nvml, FAKE_NVML_PIDS="1", FAKE_NVML_NAME="4"))

    assert (facts.other_processes, facts.mps_signs) == (1, ())


@pytest.mark.parametrize("name", NVML_FACTS)
def test_each_fact_can_be_missing_alone_with_its_reason(look: Look, with_nvml: Path, name: str) -> None:
    facts = _sharing(look(with_nvml, **{f"FAKE_NVML_{NVML_FACTS[name]}": "3"}))

    assert getattr(facts, name) is None
    assert facts.unavailable == {name: meaning(3)}


@pytest.mark.parametrize("code", [3, 4, 9, 12, 15, 16, 18, 999])
@pytest.mark.parametrize("call", ["INIT", "HANDLE"])
def test_each_refusal_of_nvml_is_told_and_nothing_is_red(
    look: Look, with_nvml: Path, call: str, code: int
) -> None:
    status = look(with_nvml, **{f"FAKE_NVML_{call}": str(code)})

    facts = _sharing(status)
    assert status.problems == ()
    assert facts.unavailable == {"nvml": meaning(code)}
    assert facts.free_bytes is None


def test_missing_nvml_is_told_in_the_loaders_words(look: Look, healthy: Path) -> None:
    facts = _sharing(look(healthy))

    if facts.nvml_driver:
        pytest.skip("this machine has NVML")
    assert "libnvidia-ml.so.1: cannot open shared object file" in facts.unavailable["nvml"]


def test_file_that_is_no_nvml_is_told(look: Look, tmp_path: Path) -> None:
    healthy_environment(tmp_path)
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")

    assert str(tmp_path) in _sharing(look(tmp_path)).unavailable["nvml"]


def test_nvml_that_aborts_costs_its_facts_only(look: Look, with_nvml: Path) -> None:
    status = look(with_nvml, FAKE_NVML_ABORT="1")

    assert _sharing(status).unavailable == {"nvml": "asking NVML ended the process with status -6"}
    assert status.stopped_how is None


def test_nvml_that_hangs_costs_its_facts_only(look: Look, with_nvml: Path) -> None:
    status = look(with_nvml, nvml_timeout=2, FAKE_NVML_HANG="1")

    assert _sharing(status).unavailable["nvml"] == "NVML did not answer within 2 s"
    assert (status.stopped_how, status.problems) == (None, ())
    assert status.probe_seconds < 25


@pytest.mark.parametrize("gpu_device", [f"MIG-{UUID}1", "1", f"MIG-{UUID}1".upper()])
def test_mig_slice_is_selected_by_its_uuid_or_index(look: Look, with_nvml: Path, gpu_device: str) -> None:
    status = look(with_nvml, gpu_device, FAKE_NVML_MIG_MODE="1", **MIG)

    facts = _sharing(status)
    assert status.selected is not None
    assert (status.selected.uuid, status.selected.is_mig, status.selected.index) == (f"MIG-{UUID}1", True, 1)
    environ = engine_environment({}, device="cuda", status=status, cache_dir=Path("/cache"))
    assert environ["CUDA_VISIBLE_DEVICES"] == f"MIG-{UUID}1"
    # What NVML refuses for a slice is asked of its card; its load it does not tell.
    assert (facts.mig_profile, facts.mig_mode, facts.compute_mode) == ("1g.5gb", "on", "default")
    assert facts.unavailable == {"utilization_percent": meaning(3)}
    assert describe(facts) == "a MIG slice 1g.5gb; no other process on it"


@pytest.mark.parametrize("gpu_device", [f"MIG-{UUID}7", f"GPU-{UUID}1", "MIG-"])
def test_mig_slice_that_is_not_there_is_named(look: Look, with_nvml: Path, gpu_device: str) -> None:
    status = look(with_nvml, gpu_device, **MIG)

    assert status.cause is not None
    assert status.cause.code == "gpu_device_not_found"
    assert f"MIG-{UUID}1" in status.cause.message


def test_doctor_tells_memory_and_company(with_nvml: Path, tmp_path: Path) -> None:
    model = tmp_path / "models" / "large-v3"
    model.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (model / name).write_text("{}")
    found = _doctor(
        with_nvml,
        tmp_path,
        status=1,
        FAKE_NVML_FREE_MB="2400",
        FAKE_NVML_PIDS="1",
        WHISPER_MODEL="large-v3",
    )

    assert found["sharing"]["summary"] == "time-sliced with 1 other process"
    # The files bear a known model's name and are not it, which doctor has to see as well.
    assert [problem["code"] for problem in found["problems"]] == ["model_damaged", "gpu_memory_short"]
    assert "2.5 GB is free: use int8_float16 or medium" in found["problems"][1]["message"]
    assert found["compatibility"]["verdict"] == "known_good"
    assert found["snapshot"]["kernels"] == "machine code 8.0"


def test_strict_matrix_refuses_from_the_setting_to_the_verdict(with_nvml: Path, tmp_path: Path) -> None:
    strict = {"WHISPER_STRICT_MATRIX": "true", "WHISPER_MODEL": "base"}

    good = _doctor(with_nvml, tmp_path, **strict)
    other = _doctor(with_nvml, tmp_path, FAKE_CC="100", FAKE_DRVVER="13000", **strict)

    assert good["problems"] == []
    assert [problem["code"] for problem in other["problems"]] == ["combination_not_known_good"]
    assert "This server transcribes on the CPU" in other["verdict"]


def _doctor(folder: Path, data_dir: Path, status: int = 0, **variables: str) -> dict[str, Any]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WHISPER_")}
    environ = {
        **inherited,
        "PYTHONPATH": str(ROOT / "flask-app"),
        "LD_LIBRARY_PATH": str(folder),
        "FAKE_COUNT": "1",
        "WHISPER_DATA_DIR": str(data_dir),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "transcriber", "doctor", "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_start_stores_a_snapshot_and_the_next_look_shows_what_changed(tmp_path: Path) -> None:
    old, new = make_status(), make_status(devices=(make_device(uuid="GPU-2222"),))
    settings = loader.load({"WHISPER_DATA_DIR": str(tmp_path)})

    Composition(settings, {}).diagnostics.record_start(old)
    second = Composition(settings, {}).diagnostics
    shown = second.look(GpuSituation(policy="preferred", status=new), ())

    assert [(c["name"], c["after"]) for c in shown.changes] == [("gpu_uuid", "GPU-2222")]
    second.record_start(new)
    third = Composition(settings, {}).diagnostics.look(GpuSituation(policy="preferred", status=new), ())
    assert third.changes == []
    assert len(SnapshotStore(tmp_path / "snapshots")) == 2


def test_data_folder_that_can_not_be_written_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("in the way")

    Composition(loader.load({"WHISPER_DATA_DIR": str(tmp_path)}), {}).diagnostics.record_start(make_status())

    assert (tmp_path / "snapshots").read_text() == "in the way"


def test_stand_in_names_every_fact_of_nvml() -> None:
    ours = {
        "unavailable",
        "mps_signs",
        "is_wsl",
        "mig_profile",
        "unseen_processes",
        "own_processes",
        "read_at",
        "total_bytes",
        "nvml_driver",
    }

    assert {f.name for f in fields(SharingFacts)} - ours == set(NVML_FACTS)
