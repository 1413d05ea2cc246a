"""The policy: which device, which number format, and when the server counts as ready."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fake_gpu import NOW, make_device, make_engine, make_status, make_status_without_driver
from transcriber.domain.errors import ConfigError, EngineCrashedError, EngineStartError, GpuRequiredError
from transcriber.domain.transcript import FallbackReason
from transcriber.gpu.policy import (
    DeviceDecision,
    GpuSituation,
    after_engine_failure,
    choose_compute_type,
    decide,
    find_proven,
    gpu_health,
    readiness,
    reason_of_engine_failure,
)

GOOD = make_status()
BAD = make_status_without_driver()
#: A GPU that is proven, and had too little memory for the default model's jobs.
LEFT = {
    "status": GOOD,
    "engines": (make_engine(),),
    "left": FallbackReason(code="cuda_out_of_memory", message="base did not fit.", fix="Free some."),
}


def _outcome(policy: str, use_gpu: bool, require_gpu: bool, usable: bool) -> str:
    try:
        decision = decide(policy, use_gpu, require_gpu, GOOD if usable else BAD)
    except GpuRequiredError:
        return "refused"
    return f"{decision.device} {decision.fallback_reason.code if decision.fallback_reason else '-'}"


@pytest.mark.parametrize(
    ("policy", "use_gpu", "require_gpu", "if_usable", "if_not"),
    [
        ("preferred", True, False, "cuda -", "cpu no_nvidia_gpu"),
        ("preferred", True, True, "cuda -", "refused"),
        ("preferred", False, False, "cpu -", "cpu -"),
        ("preferred", False, True, "cuda -", "refused"),
        ("required", True, False, "cuda -", "refused"),
        ("required", True, True, "cuda -", "refused"),
        ("required", False, False, "refused", "refused"),
        ("required", False, True, "cuda -", "refused"),
        ("off", True, False, "cpu gpu_policy_off", "cpu gpu_policy_off"),
        ("off", True, True, "refused", "refused"),
        ("off", False, False, "cpu -", "cpu -"),
        ("off", False, True, "refused", "refused"),
    ],
)
def test_policy_table(policy: str, use_gpu: bool, require_gpu: bool, if_usable: str, if_not: str) -> None:
    assert _outcome(policy, use_gpu, require_gpu, True) == if_usable
    assert _outcome(policy, use_gpu, require_gpu, False) == if_not


def test_refusal_names_cause_and_fix() -> None:
    with pytest.raises(GpuRequiredError, match="no NVIDIA driver on this machine") as caught:
        decide("preferred", True, True, BAD)

    assert caught.value.code == "gpu_required"
    assert BAD.cause is not None
    assert caught.value.fix == BAD.cause.fix


def test_no_wish_for_the_gpu_ends_on_the_cpu_without_a_reason() -> None:
    for policy, use_gpu, require_gpu, status in itertools.product(
        ("required", "preferred", "off"), (True, False), (True, False), (GOOD, BAD)
    ):
        try:
            decision = decide(policy, use_gpu, require_gpu, status)
        except GpuRequiredError:
            continue
        wanted = use_gpu or require_gpu
        assert (decision.device == "cpu" and wanted) == (decision.fallback_reason is not None)


def test_proven_engine_beats_a_probe_that_found_the_gpu_busy() -> None:
    assert decide("required", True, False, BAD, is_proven=True).device == "cuda"


def test_failed_gpu_engine_falls_back_with_the_cause_in_its_words() -> None:
    decision = decide("preferred", True, False, GOOD)
    error = EngineStartError("RuntimeError: CUDA failed with error out of memory")

    after = after_engine_failure(decision, error)

    assert after.device == "cpu"
    assert after.fallback_reason is not None
    assert after.fallback_reason.code == "cuda_out_of_memory"


def test_failed_gpu_engine_with_a_code_of_the_table_keeps_it() -> None:
    error = EngineStartError("libcublas is gone", code="cublas_missing")

    after = after_engine_failure(DeviceDecision(device="cuda"), error)

    assert after.fallback_reason is not None
    assert (after.fallback_reason.code, bool(after.fallback_reason.fix)) == ("cublas_missing", True)


def test_failed_gpu_engine_without_a_known_cause_still_has_a_fix() -> None:
    after = after_engine_failure(DeviceDecision(device="cuda"), EngineCrashedError("it died"))

    assert after.fallback_reason is not None
    assert after.fallback_reason.code == "engine_crashed"
    assert after.fallback_reason.fix


def test_failed_gpu_engine_is_an_error_where_the_gpu_is_required() -> None:
    decision = decide("preferred", True, True, GOOD)

    with pytest.raises(GpuRequiredError, match="cuda_out_of_memory"):
        after_engine_failure(decision, EngineStartError("CUDA failed with error out of memory"))


@pytest.mark.parametrize(
    ("setting", "supported", "device", "chosen"),
    [
        ("auto", ("float16", "float32", "int8_float16"), {"compute_capability": "9.0"}, "float16"),
        ("auto", (), {"compute_capability": "8.6"}, "float16"),
        ("auto", ("float16", "float32"), {"compute_capability": "7.5", "name": "Tesla T4"}, "float16"),
        (
            "auto",
            ("float16", "float32"),
            {"compute_capability": "7.5", "name": "NVIDIA GeForce GTX 1660 Ti"},
            "float32",
        ),
        ("auto", ("float32", "int8", "int8_float32"), {"compute_capability": "6.1"}, "int8_float32"),
        ("auto", ("float32",), {"compute_capability": "6.0"}, "float32"),
        ("auto", (), {"compute_capability": "6.0"}, "float32"),
        ("int8_float16", ("float16", "int8_float16"), {}, "int8_float16"),
        ("bfloat16", (), {}, "bfloat16"),
    ],
)
def test_compute_type_on_the_gpu(
    setting: str, supported: tuple[str, ...], device: dict[str, Any], chosen: str
) -> None:
    assert choose_compute_type(setting, supported, make_device(**device)) == chosen


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [("auto", "int8_float32"), ("int8", "int8"), ("int8_float32", "int8_float32"), ("float32", "float32")],
)
def test_compute_type_on_the_cpu(setting: str, chosen: str) -> None:
    assert choose_compute_type(setting, (), None) == chosen


@pytest.mark.parametrize("setting", ["float16", "bfloat16", "int8_float16"])
def test_gpu_compute_type_on_the_cpu_is_an_error(setting: str) -> None:
    with pytest.raises(ConfigError, match="CPU can't compute") as caught:
        choose_compute_type(setting, (), None)

    assert caught.value.code == "compute_type_unsupported"


def test_compute_type_that_the_gpu_lacks_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(ConfigError, match="float32, int8_float32"):
        choose_compute_type("float16", ("int8_float32", "float32"), make_device(compute_capability="6.1"))


def test_engine_that_claims_the_gpu_without_proof_is_not_proven() -> None:
    assert find_proven((make_engine(warmup_device="cpu"),)) is None
    assert find_proven((make_engine(device="cpu", warmup_device="cpu"),)) is None
    assert find_proven((make_engine(),)) == make_engine()


@pytest.mark.parametrize(
    ("situation", "ready", "status", "gpu"),
    [
        ({"policy": "preferred", "status": GOOD, "engines": (make_engine(),)}, True, "ok", True),
        ({"policy": "preferred", "status": GOOD}, True, "ok", False),
        ({"policy": "preferred", "status": BAD}, True, "degraded", False),
        ({"policy": "preferred", "status": BAD, "wants_gpu": False}, True, "ok", False),
        ({"policy": "required", "status": BAD}, False, "failed", False),
        ({"policy": "required", "status": GOOD}, False, "failed", False),
        (
            {"policy": "required", "status": GOOD, "engines": (make_engine(warmup_device="cpu"),)},
            False,
            "failed",
            False,
        ),
        ({"policy": "required", "status": BAD, "engines": (make_engine(),)}, True, "ok", True),
        ({"policy": "off", "status": BAD}, True, "ok", True),
        ({"policy": "preferred", **LEFT}, True, "degraded", False),
        ({"policy": "required", **LEFT}, True, "degraded", False),
        ({"policy": "off", **LEFT}, True, "ok", True),
    ],
)
def test_readiness_and_gpu_health(situation: dict[str, Any], ready: bool, status: str, gpu: bool) -> None:
    is_ready, body = readiness(GpuSituation(**situation))
    is_gpu_healthy, gpu_body = gpu_health(GpuSituation(**situation))

    assert (is_ready, body["status"], is_gpu_healthy) == (ready, status, gpu)
    assert (body["fallback_reason"] is None) == (status == "ok")
    assert gpu or gpu_body["fallback_reason"]["fix"]


def test_failed_engine_start_degrades_a_usable_gpu() -> None:
    failure = after_engine_failure(DeviceDecision(device="cuda"), EngineStartError("out of memory"))

    ready, body = readiness(GpuSituation(policy="preferred", status=GOOD, failure=failure.fallback_reason))

    assert ready
    assert (body["status"], body["fallback_reason"]["code"]) == ("degraded", "cuda_out_of_memory")


SLOW = FallbackReason(code="engine_too_slow", message="It is slow.", fix="Mend it.")


def test_engine_at_rest_leaves_its_proof_standing_while_nothing_is_wrong() -> None:
    rested = make_engine(proven_at=NOW)
    good = GpuSituation(policy="required", status=make_status(), at_rest=rested)
    failed = GpuSituation(policy="required", status=make_status(), at_rest=rested, failure=SLOW)
    gone = GpuSituation(policy="required", status=make_status_without_driver(), at_rest=rested)

    is_proven, body = gpu_health(good)

    assert (is_proven, body["is_loaded"], body["proven_at"]) == (True, False, NOW.isoformat())
    assert readiness(good)[0]
    assert not gpu_health(failed)[0] and not readiness(failed)[0]
    assert not gpu_health(gone)[0] and not readiness(gone)[0]


def test_cause_in_the_words_of_cuda_beats_the_engines_code_for_any_error_of_cuda() -> None:
    words = "CUDA failed with error no kernel image is available for execution on the device"

    found = reason_of_engine_failure(EngineStartError(words, code="cuda_error", fix="See nvidia-smi."))
    unnamed = reason_of_engine_failure(EngineStartError("CUDA failed with error x", code="cuda_error"))

    assert found.code == "cuda_no_kernel_image"
    assert (unnamed.code, bool(unnamed.fix)) == ("cuda_error", True)
