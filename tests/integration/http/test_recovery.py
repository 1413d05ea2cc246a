"""A GPU that goes, changes and comes back while the service runs: the cause follows, and nothing is started by hand."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import build_cublas, build_driver, build_nvml, healthy_environment
from media_files import make_tone, make_wave
from server import ROOT, Server
from standin_selftest import PASS_SECONDS
from uploading import BROWSER

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SPEECH = make_wave(make_tone(2.0))

#: A look at the GPU every second, so that the tests need not wait for a minute.
SOON = {"WHISPER_GPU_WATCH_SECONDS": "1"}

Serve = Callable[..., Server]


def page_of(server: Server) -> dict[str, Any]:
    page: dict[str, Any] = server.get("/diagnostics", headers={"Accept": "application/json"}).json
    return page


def until(question: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come true in {seconds:g} s")


def cause_of(server: Server) -> str:
    reason = server.get("/health/gpu").json["fallback_reason"]
    return reason["code"] if reason else ""


def ask_selftest(server: Server) -> Any:
    return server.request("POST", "/diagnostics/selftest")


def test_driver_that_changes_and_mends_is_followed_to_a_proven_gpu(serve: Serve, tmp_path: Path) -> None:
    says = tmp_path / "driver says"
    says.write_text("FAKE_CUINIT=802\n")
    fake = healthy_environment(tmp_path / "gpu") | {"FAKE_FILE": str(says)}
    server = serve(WHISPER_ENGINE_COMMAND=STAND_IN, **fake, **SOON)
    assert cause_of(server) == "cuda_not_ready"
    first = server.transcribe(SPEECH).json
    assert (first["gpu_used"], first["fallback_reason"]["code"]) == (False, "cuda_not_ready")

    says.write_text("FAKE_CUINIT=803\n")
    until(lambda: cause_of(server) == "cuda_driver_mismatch", "the new cause")
    assert page_of(server)["problems"][0]["code"] == "cuda_driver_mismatch"

    says.write_text("FAKE_CUINIT=0\n")
    server.wait_for("/health/gpu", 40)
    second = server.transcribe(SPEECH).json
    assert (second["gpu_used"], second["fallback_reason"]) == (True, None)
    ready = server.get("/health/ready").json
    assert (ready["status"], page_of(server)["problems"]) == ("ok", [])
    assert server.log_text().count("gpu_cause_changed") == 2
    assert "gpu_recovered" in server.log_text()


def test_driver_that_is_not_there_at_the_start_and_comes_later_is_found(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "gpu"
    build_cublas(folder)
    server = serve(
        WHISPER_ENGINE_COMMAND=STAND_IN, LD_LIBRARY_PATH=str(folder), FAKE_COUNT="1", until="", **SOON
    )
    server.wait_for("/health/ready")
    if page_of(server)["hardware"]["present"]:
        pytest.skip("this machine has an NVIDIA GPU")
    assert cause_of(server) == "no_nvidia_gpu"

    build_driver(folder)

    server.wait_for("/health/gpu", 40)
    assert server.transcribe(SPEECH).json["gpu_used"] is True


@dataclass
class Drifting:
    """A server whose GPU engine finds in its self-tests what is written for it; it is tested every second."""

    server: Server
    word: Path
    #: More options of engines that are started from now on, and NVML's answers.
    options: Path
    nvml: Path

    def find(self, word: str) -> None:
        self.word.write_text(word)

    def condemned(self) -> list[str]:
        """The codes for which engines were ended so far."""
        lines = self.server.log_text().splitlines()
        return [json.loads(line)["code"] for line in lines if "canary_condemned" in line]


@contextmanager
def drifting_server(models: Path, folder: Path) -> Iterator[Drifting]:
    word, options, nvml = folder / "word", folder / "options", folder / "nvml"
    options.write_text("")
    nvml.write_text("")
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_ENGINE_COMMAND": f"{STAND_IN} --selftest-file {word} --selftest-on cuda",
        "WHISPER_SELFTEST_INTERVAL_SECONDS": "1",
        "WHISPER_SELFTEST_TIMEOUT_SECONDS": "1",
        "WHISPER_ENGINE_START_TIMEOUT_SECONDS": "2",
        "STANDIN_FILE": str(options),
        "FAKE_NVML_FILE": str(nvml),
        **healthy_environment(folder / "gpu"),
    }
    build_nvml(folder / "gpu")
    with Server(folder / "data", env=env) as server:
        server.wait_for("/health/ready")
        yield Drifting(server, word, options, nvml)


@pytest.fixture(scope="module")
def drifting(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drifting]:
    with drifting_server(models, tmp_path_factory.mktemp("drifting")) as started:
        yield started


@pytest.fixture
def crowded(models: Path, tmp_path: Path) -> Iterator[Drifting]:
    """One whose engines have not failed before: each failure doubles the wait until the next start."""
    with drifting_server(models, tmp_path) as started:
        yield started


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("differ", "numbers_differ"),
        pytest.param("cpu", "engine_device_mismatch", marks=pytest.mark.slow),
        pytest.param("nan", "numbers_not_finite", marks=pytest.mark.slow),
        pytest.param("hang", "selftest_timeout", marks=pytest.mark.slow),
    ],
)
def test_engine_that_drifts_is_found_and_the_gpu_is_taken_back_when_it_is_well(
    drifting: Drifting, word: str, code: str
) -> None:
    server = drifting.server
    well = server.get("/health/gpu")
    assert (well.status, well.json["is_loaded"]) == (200, True)

    drifting.find(word)
    until(lambda: server.get("/health/gpu").status == 503, "the drift")
    ready, metrics = server.get("/health/ready").json, server.get("/metrics").text
    # The engine that is started in its place fails its admission: hanging, that is a start that takes too long.
    codes = (code, "engine_start_timeout")
    assert ready["status"] == "degraded"
    assert cause_of(server) in codes
    assert 'transcriber_canary_passed{device="cuda"} 0.0' in metrics
    assert server.transcribe(SPEECH).json["fallback_reason"]["code"] in codes
    assert page_of(server)["status"] == "degraded"
    assert drifting.condemned()[-1] == code

    drifting.find("pass")
    server.wait_for("/health/gpu", 60)
    again = server.transcribe(SPEECH).json
    assert (again["gpu_used"], again["fallback_reason"]) == (True, None)
    assert server.get("/health/gpu").json["proven_at"] > well.json["proven_at"]
    until(lambda: 'transcriber_canary_passed{device="cuda"} 1.0' in server.get("/metrics").text, "the canary")


def test_engine_that_became_slow_is_found_at_the_second_test(drifting: Drifting) -> None:
    server = drifting.server
    drifting.find("slow")

    # The canary may have been first.
    outcomes = [ask_selftest(server).json["outcome"] for _ in range(2)]

    assert "failed" in outcomes
    assert drifting.condemned()[-1] == "engine_too_slow"
    until(lambda: cause_of(server) == "engine_too_slow", "the cause")
    until(lambda: page_of(server)["selftests"][0]["engine_pid"] is None, "the failed admission")
    assert cause_of(server) == "engine_too_slow"
    drifting.find("pass")
    server.wait_for("/health/gpu", 60)
    speeds = json.loads((server.data_dir / "selftest" / "speeds.json").read_bytes())
    assert list(speeds.values()) == [PASS_SECONDS]


@pytest.mark.parametrize("comes_back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_default_model_that_left_the_gpu_is_degraded_everywhere_until_there_is_room(
    crowded: Drifting, comes_back: bool
) -> None:
    server = crowded.server
    crowded.options.write_text("")
    crowded.nvml.write_text("FAKE_NVML_FREE_MB=6000\n")
    server.wait_for("/health/gpu", 60)
    crowded.nvml.write_text("FAKE_NVML_FREE_MB=100\n")
    crowded.options.write_text("--room float16=0 --room int8_float16=0 --room int8_float32=0")
    for engine in page_of(server)["engines"]:
        if engine["device"] == "cuda":
            os.kill(engine["pid"], signal.SIGKILL)

    body = server.transcribe(SPEECH).json
    until(lambda: server.get("/health/gpu").json["gpu_proven"], "an engine that is proven, and of no use")

    gpu, ready, page = server.get("/health/gpu"), server.get("/health/ready"), page_of(server)
    metrics = server.get("/metrics").text
    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    codes = {
        body["fallback_reason"]["code"],
        gpu.json["fallback_reason"]["code"],
        ready.json["fallback_reason"]["code"],
        page["problems"][0]["code"],
    }
    assert codes == {"cuda_out_of_memory"}
    assert (gpu.status, gpu.json["status"]) == (503, "degraded")
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    assert page["status"] == "degraded"
    assert page["verdict"].startswith("This server transcribes on the CPU")
    assert 'transcriber_gpu_fault_info{code="cuda_out_of_memory"} 1.0' in metrics
    assert 'transcriber_health_status{status="degraded"} 1.0' in metrics
    if not comes_back:
        return

    crowded.options.write_text("")
    crowded.nvml.write_text("FAKE_NVML_FREE_MB=6000\n")
    server.wait_for("/health/gpu", 60)
    again = server.transcribe(SPEECH).json
    assert (again["gpu_used"], again["compute_type"], again["receipt"]["steps"]) == (True, "float16", [])
    assert server.get("/health/ready").json["status"] == "ok"


@pytest.mark.slow
def test_engine_without_room_for_its_self_test_comes_back_lighter_and_the_jobs_with_it(
    serve: Serve, tmp_path: Path
) -> None:
    finds = tmp_path / "finds"
    server = serve(
        WHISPER_ENGINE_COMMAND=f"{STAND_IN} --selftest-file {finds} --selftest-on cuda",
        **healthy_environment(tmp_path / "gpu"),
    )
    server.wait_for("/health/gpu")

    finds.write_text("memory")
    assert ask_selftest(server).json["code"] == "cuda_out_of_memory"
    away = server.transcribe(SPEECH).json
    assert (away["device"], away["fallback_reason"]["code"]) == ("cpu", "cuda_out_of_memory")
    assert (server.get("/health/ready").json["status"], cause_of(server)) == (
        "degraded",
        "cuda_out_of_memory",
    )

    finds.write_text("pass")
    server.wait_for("/health/gpu", 60)
    again = server.transcribe(SPEECH).json
    assert (again["gpu_used"], again["compute_type"]) == (True, "int8_float16")
    assert [step["code"] for step in again["receipt"]["steps"]] == ["lighter_compute_type"]


@pytest.mark.slow
def test_cpu_engine_that_drifts_takes_no_work_until_it_is_well(serve: Serve, tmp_path: Path) -> None:
    finds = tmp_path / "finds"
    server = serve(
        WHISPER_ENGINE_COMMAND=f"{STAND_IN} --selftest-file {finds}",
        WHISPER_DEVICE="cpu",
        WHISPER_SELFTEST_INTERVAL_SECONDS="1",
    )
    finds.write_text("words")

    failed = server.wait_for("/health/ready", 30, status=503).json
    assert (failed["status"], failed["error"]["code"]) == ("failed", "words_differ")
    assert page_of(server)["verdict"].startswith("This server takes no work: ")

    finds.write_text("pass")
    assert server.wait_for("/health/ready", 60).json["status"] == "ok"


def last_words(server: Server) -> dict[str, Any]:
    lines = [line for line in server.log_text().splitlines() if line.startswith("{")]
    words: dict[str, Any] = json.loads(lines[-1])
    return words


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--selftest nan", "numbers_not_finite"),
        pytest.param("--selftest cpu", "engine_device_mismatch", marks=pytest.mark.slow),
        pytest.param("--selftest hang", "engine_start_timeout", marks=pytest.mark.slow),
        pytest.param("--crash-at-start", "engine_start_crashed", marks=pytest.mark.slow),
    ],
)
def test_required_gpu_that_fails_its_admission_ends_the_service_with_the_cause_as_its_last_line(
    tmp_path: Path, models: Path, options: str, code: str
) -> None:
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_ENGINE_COMMAND": f"{STAND_IN} {options}",
        "WHISPER_GPU_POLICY": "required",
        "WHISPER_ENGINE_START_TIMEOUT_SECONDS": "3",
        **healthy_environment(tmp_path / "gpu"),
    }
    server = Server(tmp_path / "data", env=env)

    # Under load it may be gone before the first answer.
    with suppress(RuntimeError):
        server.start()
    status = server.process.wait(30)
    server.log.close()

    assert status == 3
    last = last_words(server)
    assert (last["event"], last["code"], last["exit_status"]) == ("start_refused", code, 3)
    assert last["error"] and last["fix"]


def test_self_test_of_the_real_engine_on_demand(shared: Server) -> None:
    answer = ask_selftest(shared)
    page = shared.get("/diagnostics", headers={"Accept": BROWSER}).text

    body = answer.json
    assert (answer.status, body["outcome"]) == (200, "passed")
    assert (body["device"], body["compute_type"], body["model"]) == ("cpu", "int8_float32", "base")
    steps = {step["name"]: step for step in body["steps"]}
    assert steps["computed"]["numbers"]["reference"] == "base on the CPU in float32"
    assert steps["computed"]["numbers"]["difference"] < steps["computed"]["numbers"]["tolerance"]
    assert steps["computed"]["numbers"]["word_errors"] <= 0.25  # some processors hear a word before the first
    assert {steps[name]["outcome"] for name in ("visible", "usable", "fast")} == {"not_applicable"}
    assert body["run_seconds"] > 0
    assert 'data-selftest="passed"' in page
    assert 'transcriber_canary_passed{device="cpu"} 1.0' in shared.get("/metrics").text
