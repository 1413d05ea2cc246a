"""The proof for a machine with a GPU, run without one: all of it but the hardware, and its negative controls."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import gpu_proof
from fake_gpu import healthy_environment
from gpu_proof import Bench, ProofError, Run
from server import ROOT
from transcriber.models.packaged import place

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A stand-in GPU whose driver can be asked for pools and pointers."""
    return healthy_environment(tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="module")
def bench(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> pytest.Generator[Bench, None, None]:
    models = tmp_path_factory.mktemp("models")
    place(["tiny.en"], models)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv(gpu_proof.VARIABLE, str(models / "tiny.en"))
        status, model = gpu_proof.find_gpu(), gpu_proof.find_model()
        assert gpu_proof.why_not(status, model) is None
        assert model is not None
        yield Bench(status, model, tmp_path_factory.mktemp("proof"), repeats=1)


def test_nothing_of_the_proof_holds_for_a_window_on_the_cpu_but_its_numbers(bench: Bench) -> None:
    run = bench.prove("cpu", "float32")

    assert not run.is_framework_sure
    assert not run.is_pointer_on_device
    assert run.facts["where"]["why"] == "the driver does not know the address (error 1)"
    assert run.facts["pool_before"] is not None, "the driver was asked"
    assert (run.pool_used_before, run.pool_growth) == (0, 0)
    assert "country" in run.facts["text"].lower()
    assert run.is_right(run.numbers)
    broken = np.random.default_rng(0).permutation(run.numbers.ravel()).reshape(run.numbers.shape)
    assert not Run(run.facts, broken).is_right(run.numbers)
    assert gpu_proof.distance(broken, run.numbers) > 0.5


def test_other_steps_start_and_say_what_they_saw(bench: Bench) -> None:
    free = bench.ask("free", "cpu", "float32")
    unloaded = bench.ask("unload", "cpu", "int8_float32")
    kernels = bench.ask("count_kernels", "cpu", "int8_float32")

    assert free["free_bytes"] == 4096 << 20
    assert unloaded == {"is_loaded": False, "held_loaded_bytes": 0, "held_unloaded_bytes": 0}
    assert kernels.get("kernels", 0) == 0


@pytest.mark.slow
def test_script_names_each_measurement_that_failed_and_ends_with_1(bench: Bench) -> None:
    """CUDA's own runtime sees through the stand-in driver, so whatever needs it fails."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "gpu-proof")],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ),
        check=False,
    )

    assert done.returncode == 1
    assert "| proofs | FAILED: prove on cuda ended with 1:" in done.stdout
    assert "MEASUREMENTS FAILED" in done.stderr
    with pytest.raises(ProofError, match="prove on cuda"):
        bench.prove("cuda", "float32")


def test_evidence_of_an_engine_is_asked_of_a_real_library(environment: dict[str, str]) -> None:
    """The same calls as in an engine child, through ctypes, with the driver's own types."""
    code = (
        "from transcriber.engine.child.model.evidence import open_driver; d = open_driver('cuda', 0); "
        "print(d.find_name(), d.find_uuid(), d.pool_used_bytes(), d.pool_peak_bytes(), d.locate(4096), sep='|')"
    )
    told = environment | {"FAKE_POOL_MB": "3", "FAKE_POINTER": "2", "FAKE_NAME": "NVIDIA H200 MIG 1g.18gb"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | told | {"PYTHONPATH": str(ROOT / "flask-app")},
        check=True,
    )

    assert done.stdout.strip().split("|") == [
        "NVIDIA H200 MIG 1g.18gb",
        "MIG-fafafafa-fafa-fafa-fafa-fafafafafa00",
        str(3 << 20),
        str(3 << 20),
        "('device', 0)",
    ]
