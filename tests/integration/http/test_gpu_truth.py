"""Stand-in drivers, libraries and engines behind a real server: the answer follows the evidence."""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import build_nvml, healthy_environment
from media_files import make_tone, make_wave
from server import ROOT, Server

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SPEECH = make_wave(make_tone(65.0))
"""Long enough for three windows of the stand-in."""


def ask(serve: Callable[..., Server], options: str = "", **env: str) -> tuple[Server, dict[str, Any]]:
    """A server with a stand-in engine, and its answer to one upload."""
    server = serve(WHISPER_ENGINE_COMMAND=f"{STAND_IN} {options}".strip(), until="", **env)
    server.wait_for("/health/ready")
    answer = server.transcribe(SPEECH)
    assert answer.status == 200, answer.text
    return server, answer.json


@dataclass(frozen=True)
class Bench:
    """One server with a stand-in GPU. Each test asks for a model of its own, whose engine does as the test says."""

    server: Server
    weights: Path
    options: Path
    models: Path

    def ask(self, options: str = "", **fields: str) -> dict[str, Any]:
        """The answer to one upload for a new model."""
        self.options.write_text(options)
        (self.models / (model := f"model-{uuid.uuid4().hex[:8]}")).symlink_to(self.weights)
        return self.ask_again(model, **fields)

    def ask_again(self, model: str, **fields: str) -> dict[str, Any]:
        answer = self.server.transcribe(SPEECH, model=model, **fields)
        assert answer.status == 200, answer.text
        body: dict[str, Any] = answer.json
        return body

    def refuses_without_gpu(self, model: str) -> bool:
        return self.server.transcribe(SPEECH, model=model, require_gpu="true").status == 503


@pytest.fixture(scope="module")
def bench(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "options").write_text("")
    (folder / "models").mkdir()
    (folder / "models" / "tiny.en").symlink_to(models / "tiny.en")
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(folder / "models"),
        "WHISPER_ENGINE_COMMAND": STAND_IN,
        "STANDIN_FILE": str(folder / "options"),
        **healthy_environment(folder / "gpu"),
    }
    with Server(folder / "data", env=env) as server:
        server.wait_for("/health/ready")
        yield Bench(server, models / "tiny.en", folder / "options", folder / "models")


def diagnosed(server: Server) -> dict[str, Any]:
    return server.get("/diagnostics", headers={"Accept": "application/json"}).json


def test_fault_of_the_driver_is_named_in_the_answer_and_in_diagnostics(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """test_gpu_failures has all the others, without gunicorn."""
    server, body = ask(serve, **healthy_environment(tmp_path / "gpu"), FAKE_CUINIT="803")

    reason = body["fallback_reason"]
    assert (body["gpu_used"], body["device"], reason["code"]) == (False, "cpu", "cuda_driver_mismatch")
    assert reason == diagnosed(server)["problems"][0]
    assert server.get("/health/gpu").status == 503


def test_nvml_says_its_word_and_fills_the_metrics_and_changes_no_verdict(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    folder = tmp_path / "gpu"
    environ = healthy_environment(folder)
    build_nvml(folder)
    server, _ = ask(serve, FAKE_NVML_PIDS="1", **environ)

    def is_filled() -> bool:
        return "transcriber_gpu_utilization_ratio{" in server.get("/metrics").text

    await_(is_filled)
    body = server.transcribe(SPEECH).json
    page = diagnosed(server)

    assert (body["gpu_used"], body["fallback_reason"]) == (True, None)
    assert body["receipt"]["nvml"]["verdict"] == "disagrees"
    assert body["receipt"]["partition"] == "whole"
    assert body["receipt"]["kernels"].startswith("machine code 8")
    assert body["receipt"]["is_jit"] is False
    metrics = server.get("/metrics").text
    assert re.search(r"^transcriber_gpu_memory_free_bytes{.*} 6\.29", metrics, re.MULTILINE)
    assert re.search(r"^transcriber_gpu_energy_joules_total{.*} 5e\+06", metrics, re.MULTILINE)
    assert re.search(r'^transcriber_batch_size_count{device="cuda".*} 6\.0', metrics, re.MULTILINE)
    assert page["sharing"]["summary"] == "time-sliced with 1 other process"
    assert page["sharing"]["read_at"] is not None
    assert page["memory"]["free_bytes"] == 6000 << 20


def await_(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not question():
        assert time.monotonic() < deadline, "it did not come about within 20 s"
        time.sleep(0.05)


def test_windows_on_cuda_are_gpu_used(bench: Bench) -> None:
    server, body = bench.server, bench.ask("--windows-on cuda")

    assert (body["gpu_used"], body["device"], body["fallback_reason"]) == (True, "cuda", None)
    assert (body["receipt"]["windows_gpu"], body["receipt"]["windows_total"]) == (3, 3)
    assert body["receipt"]["device_uuid"].startswith("GPU-")
    assert server.get("/health/gpu").status == 200
    assert server.get("/health/ready").json["status"] == "ok"
    assert body["device"] in diagnosed(server)["last_receipt"]["claimed_device"]


def test_engine_that_claims_cuda_while_its_windows_say_cpu_is_caught(
    bench: Bench,
) -> None:
    body = bench.ask("--claim cuda --windows-on cpu")

    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    assert body["fallback_reason"]["code"] == "engine_device_mismatch"
    assert (body["receipt"]["windows_gpu"], body["receipt"]["claimed_device"]) == (0, "cuda")
    assert bench.refuses_without_gpu(body["model"])


def test_mixed_windows_are_not_gpu_used(bench: Bench) -> None:
    body = bench.ask("--claim cuda --windows-on cuda,cpu")

    assert (body["gpu_used"], body["device"]) == (False, "mixed")
    assert (body["receipt"]["windows_gpu"], body["receipt"]["windows_cpu"]) == (2, 1)
    assert body["fallback_reason"]["code"] == "mixed_devices"


def test_toggle_chooses_per_request(bench: Bench) -> None:
    first = bench.ask()

    second = bench.ask_again(first["model"], use_gpu="false")

    assert (first["device"], second["device"], second["fallback_reason"]) == ("cuda", "cpu", None)
    engines = [each for each in diagnosed(bench.server)["engines"] if each["model"] == first["model"]]
    assert {engine["device"] for engine in engines} == {"cuda", "cpu"}


def test_policy_off_is_the_named_reason(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(
        WHISPER_ENGINE_COMMAND=STAND_IN, WHISPER_DEVICE="cpu", **healthy_environment(tmp_path / "gpu")
    )

    body = server.transcribe(SPEECH, use_gpu="true").json

    assert (body["device"], body["fallback_reason"]["code"]) == ("cpu", "gpu_policy_off")
    assert server.get("/health/gpu").status == 200
    assert server.get("/health/ready").json["status"] == "ok"


def test_gpu_engine_that_does_not_start_falls_back_with_its_own_code(bench: Bench, tmp_path: Path) -> None:
    body = bench.ask(f"--fail-start cublas_missing --fail-start-times 1 --count-file '{tmp_path / 'count'}'")

    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    assert body["fallback_reason"]["code"] == "cublas_missing"


def test_gpu_engine_that_dies_of_itself_hands_over_to_the_cpu(bench: Bench, tmp_path: Path) -> None:
    body = bench.ask(f"--crash-at 1 --crash-times 1 --crash-with SEGV --count-file '{tmp_path / 'count'}'")

    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    assert body["fallback_reason"]["code"] == "engine_crashed"
    assert len(body["segments"]) == 3


def test_window_without_evidence_is_no_proof(bench: Bench) -> None:
    body = bench.ask("--windows-on cuda --untold 1")

    assert (body["gpu_used"], body["device"]) == (False, "cuda")
    assert (body["receipt"]["windows_gpu"], body["receipt"]["windows_total"]) == (2, 3)
    assert body["fallback_reason"]["code"] == "no_gpu_evidence"
    assert len(body["segments"]) == 3
    assert bench.refuses_without_gpu(body["model"])


REFUSED = "--fail-start compute_type_unsupported --fail-start-on cuda"


def test_gpu_engine_that_can_t_start_degrades_the_server_and_is_named_everywhere(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, body = ask(serve, REFUSED, **healthy_environment(tmp_path / "gpu"))

    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    assert body["fallback_reason"]["code"] == "compute_type_unsupported"
    ready, page = server.get("/health/ready"), diagnosed(server)
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    assert ready.json["fallback_reason"] == body["fallback_reason"] == page["problems"][0]
    assert server.get("/health/gpu").json["fallback_reason"] == body["fallback_reason"]
    assert server.transcribe(SPEECH, require_gpu="true").status == 503


def test_required_gpu_engine_that_can_t_start_ends_the_service(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="ended with 3(?s:.)*compute_type_unsupported"):
        serve(
            WHISPER_ENGINE_COMMAND=f"{STAND_IN} {REFUSED}",
            WHISPER_GPU_POLICY="required",
            **healthy_environment(tmp_path / "gpu"),
        )


def test_warm_up_on_the_cpu_is_no_gpu_engine(serve: Callable[..., Server], tmp_path: Path) -> None:
    server, body = ask(serve, "--warmup-on cpu", **healthy_environment(tmp_path / "gpu"))

    ready, gpu = server.get("/health/ready").json, server.get("/health/gpu")
    assert (body["device"], ready["status"], gpu.status) == ("cpu", "degraded", 503)
    reasons = [answer["fallback_reason"]["code"] for answer in (body, ready, gpu.json)]
    assert reasons == ["engine_device_mismatch"] * 3


def test_required_gpu_is_proven_at_start_also_where_engines_start_lazily(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(
        WHISPER_ENGINE_COMMAND=STAND_IN,
        WHISPER_GPU_POLICY="required",
        WHISPER_ENGINE_START="lazy",
        **healthy_environment(tmp_path / "gpu"),
    )

    assert server.get("/health/ready").json["status"] == "ok"
    assert [engine["device"] for engine in diagnosed(server)["engines"]] == ["cuda"]
