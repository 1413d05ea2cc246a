"""Diagnostics: one sentence that is true, the faults with their fixes, and the same facts as text."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from fake_gpu import NOW, make_engine, make_status, make_status_without_driver
from transcriber.domain.transcript import FallbackReason
from transcriber.gpu.policy import GpuSituation
from transcriber.gpu.probe import fault_codes
from transcriber.gpu.receipt.evidence import build_receipt
from transcriber.observability.diagnostics import Sources, collect, find_versions
from transcriber.observability.diagnostics_text import render_text

GOOD = make_status()
BAD = make_status_without_driver()
CPU_ENGINE = make_engine(device="cpu", device_name=None, compute_type="int8_float32", warmup_device="cpu")


def _sources(situation: dict[str, Any], **changes: Any) -> Sources:
    gpu = GpuSituation(**{"policy": "preferred", "status": GOOD, **situation})
    now = NOW + timedelta(seconds=12)
    return Sources(
        gpu=gpu,
        cpu_compute_type="int8",
        now=now,
        age=lambda moment: (now - moment).total_seconds(),
        **changes,
    )


@pytest.mark.parametrize(
    ("situation", "status", "verdict"),
    [
        (
            {"engines": (make_engine(),)},
            "ok",
            "This server transcribes on NVIDIA L4 (float16), proven 12 s ago.",
        ),
        (
            {"status": BAD},
            "degraded",
            "This server transcribes on the CPU (int8_float32): there is no NVIDIA driver on this machine, and no",
        ),
        (
            {"status": BAD, "policy": "required"},
            "failed",
            "This server takes no work: the GPU is required, and there is no NVIDIA driver on this machine",
        ),
        (
            {"policy": "required"},
            "failed",
            "This server takes no work: the GPU is required, and the GPU looks usable",
        ),
        (
            {"policy": "off", "engines": (make_engine(),)},
            "ok",
            "This server transcribes on the CPU (int8_float32): the GPU policy is off.",
        ),
        (
            {},
            "ok",
            "This server will transcribe on NVIDIA L4; it looks usable, and no engine has proven it yet.",
        ),
        (
            {"wants_gpu": False, "engines": (CPU_ENGINE,)},
            "ok",
            "This server transcribes on the CPU (int8_float32) unless a request asks",
        ),
        (
            {"failure": fault_codes.reason("cuda_devices_hidden", "''")},
            "degraded",
            "This server transcribes on the CPU (int8_float32): CUDA_VISIBLE_DEVICES hides every GPU",
        ),
    ],
)
def test_verdict_is_one_true_sentence(situation: dict[str, Any], status: str, verdict: str) -> None:
    diagnostics = collect(_sources(situation))

    assert diagnostics.status == status
    assert diagnostics.verdict.startswith(verdict)
    assert "\n" not in diagnostics.verdict


def test_claim_without_proof_does_not_make_the_verdict() -> None:
    diagnostics = collect(_sources({"status": BAD, "engines": (make_engine(warmup_device="cpu"),)}))

    assert diagnostics.verdict.startswith("This server transcribes on the CPU")


def test_engines_have_the_promised_fields() -> None:
    engine = collect(_sources({"engines": (make_engine(),)})).engines[0]

    assert {name: engine[name] for name in ("pid", "device", "compute_type", "model", "uptime")} == {
        "pid": 4242,
        "device": "cuda",
        "compute_type": "float16",
        "model": "base",
        "uptime": 12.0,
    }


def test_every_problem_has_its_fix_and_comes_once() -> None:
    failure = FallbackReason(code="no_nvidia_gpu", message="the same", fix="the same")

    problems = collect(_sources({"status": BAD, "failure": failure})).problems

    assert [problem["code"] for problem in problems] == ["no_nvidia_gpu"]
    assert all(problem["fix"] for problem in problems)


def test_policy_off_makes_a_missing_driver_no_problem() -> None:
    assert collect(_sources({"policy": "off", "status": BAD})).problems == []


def test_fault_of_another_part_fails_the_whole() -> None:
    fault = FallbackReason(code="storage_full", message="There is no room.", fix="Make room.")

    diagnostics = collect(_sources({}, problems=(fault,)))

    assert (diagnostics.status, diagnostics.problems[0]["code"]) == ("failed", "storage_full")


@pytest.mark.parametrize(
    "situation", [{"engines": (make_engine(),)}, {"policy": "off"}, {"policy": "required"}]
)
def test_verdict_says_that_no_work_is_taken(situation: dict[str, Any]) -> None:
    fault = FallbackReason(code="model_damaged", message="The model base is damaged.", fix="Remove it.")

    assert collect(_sources(situation, problems=(fault,))).verdict == (
        "This server takes no work: the model base is damaged."
    )


@pytest.mark.parametrize(("value", "codes"), [("1", ["setting_without_effect"]), ("", [])])
def test_setting_without_effect_is_noted(value: str, codes: list[str]) -> None:
    setting = {"name": "CT2_USE_CUDNN", "value": value, "source": "CT2_USE_CUDNN"}

    notes = collect(_sources({}, settings=[setting])).notes

    assert [note["code"] for note in notes] == codes


def test_compute_types_are_listed_per_device() -> None:
    types = collect(_sources({})).ctranslate2["compute_types"]

    assert types["cpu"] == ["float32", "int8", "int8_float32"]
    assert "float16" in types["cuda:0"]


def test_json_and_text_show_the_same_facts() -> None:
    receipt = build_receipt(make_engine(), ["cuda"], pool_peak_bytes=7, attempts=1)
    diagnostics = collect(
        _sources(
            {"engines": (make_engine(),)},
            last_receipt=receipt,
            last_job_id="job-1",
            models=[{"name": "base", "verified": True}],
            settings=[{"name": "WHISPER_PORT", "value": "5000", "source": "default"}],
            versions=find_versions(("ctranslate2",)),
            media_sandbox={"seccomp": "active"},
        )
    )

    shown = json.loads(json.dumps(diagnostics.to_dict()))
    text = render_text(diagnostics)

    assert shown["last_receipt"]["windows_gpu"] == 1
    assert text.startswith(shown["verdict"])
    for fact in (
        "job-1",
        "WHISPER_PORT=5000  (default)",
        "name=base",
        "pid 4242: base on cuda (float16)",
        "/venv/nvidia/cublas/lib/libcublas.so.12, found via Python package cublas",
        "GPU-11111111-0000-0000-0000-000000000000",
        "needs no cuDNN",
        "seccomp: active",
        "kernel module: 570.124.06",
        f"ctranslate2: {shown['versions']['packages']['ctranslate2']}",
    ):
        assert fact in text


def test_text_names_each_fix() -> None:
    diagnostics = collect(_sources({"status": BAD}))

    assert f"fix: {diagnostics.problems[0]['fix']}" in render_text(diagnostics)
