"""The pinned table of combinations: every row decides as it says, and strictness goes through the judge."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import make_device, make_driver, make_status
from transcriber.domain.errors import GpuRequiredError
from transcriber.gpu.compatibility import KNOWN_BAD, KNOWN_GOOD, UNKNOWN, judge, load_table, markdown, version
from transcriber.gpu.policy import GpuSituation, decide, readiness
from transcriber.gpu.probe.facts import CTranslate2Facts
from transcriber.gpu.probe.fault_codes import CAUSES
from transcriber.gpu.snapshot import Snapshot

ROOT = Path(__file__).parents[3]
L4 = Snapshot(
    cuda="12.8",
    cublas="12.9.1",
    ctranslate2="4.8.5",
    gpu_name="NVIDIA L4",
    gpu_uuid="GPU-1",
    compute_capability="8.9",
    compute_type="float16",
)


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, KNOWN_GOOD, "Ampere and Ada"),
        ({"cublas": None}, KNOWN_GOOD, "Ampere and Ada"),
        ({"ctranslate2": "4.6.3"}, KNOWN_GOOD, "Ampere and Ada"),
        ({"ctranslate2": "4.6.2"}, UNKNOWN, "no row"),
        ({"ctranslate2": "5.0.0"}, UNKNOWN, "no row"),
        ({"ctranslate2": None}, UNKNOWN, "no row"),
        ({"compute_capability": "6.0", "compute_type": "float32"}, KNOWN_GOOD, "P100"),
        ({"compute_capability": "6.0", "compute_type": "int8"}, UNKNOWN, "no row"),
        ({"compute_capability": "6.1", "compute_type": "int8_float32"}, KNOWN_GOOD, "P40"),
        ({"compute_capability": "5.2"}, KNOWN_BAD, "no code for cards"),
        ({"compute_capability": "7.5", "gpu_name": "NVIDIA GeForce GTX 1660 Ti"}, KNOWN_BAD, "wrongly"),
        (
            {
                "compute_capability": "7.5",
                "gpu_name": "NVIDIA GeForce GTX 1660 Ti",
                "compute_type": "float32",
            },
            KNOWN_GOOD,
            "Turing",
        ),
        ({"compute_capability": "9.0"}, KNOWN_GOOD, "Hopper"),
        ({"compute_capability": "9.0", "cuda": "12.7"}, KNOWN_BAD, "PTX of CUDA 12.8"),
        ({"compute_capability": "9.0", "cuda": "13.0"}, KNOWN_GOOD, "Hopper"),
        ({"compute_capability": "9.0", "cuda": None}, UNKNOWN, "no row"),
        (
            {"compute_capability": "9.0", "cuda": "12.3", "ctranslate2": "4.6.2"},
            KNOWN_BAD,
            "PTX of CUDA 12.4",
        ),
        (
            {"compute_capability": "9.0", "cuda": "12.1", "ctranslate2": "4.5.0"},
            KNOWN_BAD,
            "PTX of CUDA 12.2",
        ),
        ({"compute_capability": "12.0", "compute_type": "int8_float16"}, KNOWN_GOOD, "8-bit"),
        (
            {"compute_capability": "12.0", "compute_type": "int8_float16", "ctranslate2": "4.6.3"},
            KNOWN_BAD,
            "turned off",
        ),
        (
            {"compute_capability": "12.0", "compute_type": "int8", "ctranslate2": "4.6.1"},
            KNOWN_BAD,
            "CUBLAS_STATUS_NOT_SUPPORTED",
        ),
        ({"compute_capability": "12.0", "ctranslate2": "4.6.3"}, KNOWN_GOOD, "without 8-bit"),
        ({"compute_capability": "10.0"}, UNKNOWN, "no row"),
        ({"cuda": "11.8"}, KNOWN_BAD, "speaks CUDA 12.0"),
        ({"cublas": "13.0.2"}, KNOWN_BAD, "needs cuBLAS 12"),
        ({"gpu_name": None}, UNKNOWN, "no GPU"),
    ],
)
def test_each_combination_has_its_verdict(changes: dict[str, Any], verdict: str, words: str) -> None:
    found = judge(replace(L4, **changes))

    assert found.verdict == verdict
    assert words in found.why
    assert bool(found.fix) == (verdict != KNOWN_GOOD)


@pytest.mark.parametrize(
    ("text", "numbers"), [("4.8.5", (4, 8, 5)), ("12.9rc1", (12, 9)), ("4.8.5+cu128", (4, 8, 5)), ("?", ())]
)
def test_version_is_compared_by_its_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers


def test_table_is_whole() -> None:
    table = load_table()

    assert all(row.why and row.fix and row.because for row in table.bad)
    assert all(row.ctranslate2 and row.capability and row.driver_cuda and row.because for row in table.good)
    assert {row.cause for row in table.bad if row.cause} <= set(CAUSES)
    names = [row.name for row in (*table.bad, *table.good)]
    assert len(set(names)) == len(names)


def test_docs_show_the_table() -> None:
    assert markdown(load_table()) in (ROOT / "docs/gpu-reference.md").read_text()


def test_pinned_ctranslate2_is_in_the_table() -> None:
    pinned = re.search(r"ctranslate2==([\d.]+)", (ROOT / "pyproject.toml").read_text())

    assert pinned is not None
    assert judge(replace(L4, ctranslate2=pinned.group(1))).verdict == KNOWN_GOOD


def _cublas_status(**changes: Any) -> Any:
    return make_status(strict_matrix=True, **changes)


def test_strict_matrix_leaves_a_known_good_combination_alone() -> None:
    assert _cublas_status().usable


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ctranslate2": CTranslate2Facts(version="4.9.0", cuda_compiled=True)}, "no row of the table"),
        ({"devices": (make_device(name="NVIDIA B200", compute_capability="10.0"),)}, "no row of the table"),
        (
            {
                "devices": (make_device(name="NVIDIA H100", compute_capability="9.0"),),
                "driver": make_driver(version_number=12040, version="CUDA 12.4"),
            },
            "PTX of CUDA 12.8",
        ),
        (
            {
                "devices": (make_device(name="NVIDIA GeForce GTX 1650", compute_capability="7.5"),),
                "gpu_compute_type": "float16",
            },
            "wrongly",
        ),
    ],
)
def test_strict_matrix_refuses_all_others(changes: dict[str, Any], words: str) -> None:
    status = _cublas_status(**changes)

    assert not status.usable
    assert status.cause is not None
    assert status.cause.code == "combination_not_known_good"
    assert words in status.cause.message
    assert status.cause.fix
    assert make_status(**changes).usable


def test_strict_matrix_reaches_requests_and_readiness() -> None:
    status = _cublas_status(ctranslate2=CTranslate2Facts(version="4.9.0", cuda_compiled=True))

    decision = decide("preferred", True, False, status)
    is_ready, body = readiness(GpuSituation(policy="required", status=status))

    assert decision.device == "cpu"
    assert decision.fallback_reason == status.cause
    with pytest.raises(GpuRequiredError, match="combination_not_known_good"):
        decide("required", True, False, status)
    assert (is_ready, body["fallback_reason"]["code"]) == (False, "combination_not_known_good")


def test_strict_matrix_says_nothing_where_there_is_no_gpu() -> None:
    status = make_status(strict_matrix=True, devices=(), driver=make_driver(device_count=0))

    assert [problem.code for problem in status.problems] == ["no_cuda_devices"]


def test_known_bad_combination_is_a_note_with_its_fix() -> None:
    card = make_device(name="NVIDIA GeForce GTX 1660", compute_capability="7.5")

    status = make_status(devices=(card,), gpu_compute_type="float16")

    assert status.usable
    assert [note.code for note in status.notes] == ["combination_known_bad"]
    assert "WHISPER_GPU_COMPUTE_TYPE=auto" in status.notes[0].fix
    assert make_status(devices=(card,)).notes == ()
