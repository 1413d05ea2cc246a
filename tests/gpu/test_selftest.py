"""The self-test on a real NVIDIA GPU, and what its evidence looks like where no GPU computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_proof import Bench
from server import Server

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=["float16", "float32", "int8_float16"])
def tested(
    request: pytest.FixtureRequest, bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server that has to have the GPU, with the model in this number format; and the answers to two self-tests."""
    env = {
        "WHISPER_MODEL_PATH": str(bench.model),
        "WHISPER_GPU_POLICY": "required",
        "WHISPER_GPU_COMPUTE_TYPE": request.param,
        "WHISPER_SELFTEST_INTERVAL_SECONDS": "0",
    }
    with Server(tmp_path_factory.mktemp("gpu"), env=env) as server:
        server.wait_for("/health/ready", 300)
        page = server.get("/diagnostics", headers={"Accept": "application/json"}).json
        admission = page["selftests"][0]
        yield admission, server.request("POST", "/diagnostics/selftest").json


def numbers_of(finding: dict[str, Any], step: int) -> dict[str, Any]:
    numbers: dict[str, Any] = finding["steps"][step]["numbers"]
    return numbers


def test_admission_and_canary_pass_all_four_steps(tested: Any) -> None:
    for finding in tested:
        print(finding)
        assert [step["outcome"] for step in finding["steps"]] == ["passed"] * 4
        assert finding["device"] == "cuda"


def test_driver_says_that_the_output_lies_on_the_gpu_and_the_pool_holds_it(tested: Any) -> None:
    for finding in tested:
        computed = numbers_of(finding, 2)
        assert (computed["memory"], computed["ordinal"]) == ("device", 0)
        print("pool growth", computed["pool_growth_bytes"])
        assert computed["pool_used_bytes"] > 1500 * 384 * 2


def test_numbers_are_well_within_the_tolerance(tested: Any) -> None:
    computed = numbers_of(tested[0], 2)

    assert computed["difference"] < computed["tolerance"] / 2
    assert computed["word_errors"] == 0


def test_first_pass_is_timed_by_itself(tested: Any) -> None:
    admission, canary = tested

    assert admission["cold_seconds"] >= admission["run_seconds"]
    assert canary["cold_seconds"] is None
    assert numbers_of(canary, 3)["baseline_seconds"] == admission["run_seconds"]


def test_cpu_engine_has_none_of_the_evidence(bench: Bench, tmp_path: Path) -> None:
    env = {"WHISPER_MODEL_PATH": str(bench.model), "WHISPER_DEVICE": "cpu"}
    with Server(tmp_path / "data", env=env) as server:
        server.wait_for("/health/ready", 300)
        finding = server.request("POST", "/diagnostics/selftest").json

    computed = numbers_of(finding, 2)
    assert (finding["device"], finding["outcome"]) == ("cpu", "passed")
    assert not {"memory", "ordinal", "pool_used_bytes", "pool_growth_bytes"} & set(computed)
    assert computed["device"] == "cpu"
