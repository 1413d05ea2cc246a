"""The whole service on a real GPU: receipts with real evidence, and the CPU as control."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import ROOT, Server
from transcriber.gpu.probe.facts import GpuStatus

pytestmark = pytest.mark.gpu

JFK = ROOT / "tests" / "data" / "jfk.flac"


@pytest.fixture(scope="module")
def server(gpu: GpuStatus, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"WHISPER_MODEL_PATH": str(model), "WHISPER_GPU_POLICY": "preferred"}
    with Server(tmp_path_factory.mktemp("service"), env=env) as server:
        server.wait_for("/health/gpu", timeout=600)
        yield server


def test_a_job_on_the_gpu_leaves_all_its_evidence(server: Server, gpu: GpuStatus, model: Path) -> None:
    body = server.transcribe(JFK, require_gpu="true").json
    receipt = body["receipt"]

    assert (body["gpu_used"], body["device"], body["fallback_reason"]) == (True, "cuda", None)
    assert receipt["windows_gpu"] == receipt["windows_total"] >= 1
    assert gpu.selected is not None
    assert (receipt["device_uuid"], receipt["device_name"]) == (gpu.selected.uuid, gpu.selected.name)
    assert set(receipt["libraries"]) == {"libcuda", "libcublas", "libcublasLt", "libctranslate2"}
    assert receipt["pool_peak_bytes"] > 0.4 * (model / "model.bin").stat().st_size
    assert receipt["is_jit"] == gpu.selected.is_compiled_at_first_use
    assert receipt["partition"]
    assert receipt["steps"] == []
    assert "country" in body["text"].lower()


def test_the_same_job_on_the_cpu_leaves_none_of_it(server: Server) -> None:
    body = server.transcribe(JFK, use_gpu="false").json
    receipt = body["receipt"]

    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    assert (receipt["windows_gpu"], receipt["pool_peak_bytes"]) == (0, None)
    assert (receipt["partition"], receipt["kernels"], receipt["nvml"]) == (None, None, None)
    assert "libcublas" not in receipt["libraries"]


def test_nvml_agrees_or_says_why_it_has_no_word(server: Server) -> None:
    server.transcribe(JFK)
    deadline = time.monotonic() + 30
    while True:
        word = server.transcribe(JFK).json["receipt"]["nvml"]
        if "not asked" not in word["why"] or time.monotonic() > deadline:
            break
        time.sleep(1)

    assert word["verdict"] in ("agrees", "not_available"), word


def test_memory_of_the_gpu_is_in_the_metrics(server: Server) -> None:
    deadline = time.monotonic() + 30
    while "transcriber_gpu_memory_total_bytes{" not in server.get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.5)
