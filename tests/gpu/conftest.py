"""Tests for a machine with an NVIDIA GPU: WHISPER_TEST_MODEL_DIR=… pytest -m gpu tests/gpu.

Where they can't run they are skipped, and the end of the report says so in capitals: a run that proved nothing must
not look like one that did.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import gpu_proof
from gpu_proof import Bench
from transcriber.gpu.probe.facts import GpuStatus

_NOT_RUN: list[str] = []


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The GPU and the model."""
    status, model = gpu_proof.find_gpu(), gpu_proof.find_model()
    why = gpu_proof.why_not(status, model)
    if why is not None or model is None:
        _NOT_RUN.append(why or "no model")
        pytest.skip(f"GPU TESTS CAN'T RUN: {why}")
    return Bench(status, model, tmp_path_factory.mktemp("proof"))


@pytest.fixture(scope="session")
def gpu(bench: Bench) -> GpuStatus:
    return bench.status


@pytest.fixture(scope="session")
def model(bench: Bench) -> Path:
    return bench.model


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for why in dict.fromkeys(_NOT_RUN):
        terminalreporter.section("GPU TESTS DID NOT RUN: NOTHING WAS PROVEN", sep="!", red=True, bold=True)
        terminalreporter.line(why)
