"""The table of causes: every row is whole, documented, and reachable from what CUDA says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transcriber.gpu.probe import fault_codes

DOCUMENT = Path(__file__).parents[4] / "docs/gpu-reference.md"


@pytest.mark.parametrize("code", fault_codes.CAUSES)
def test_every_cause_has_its_line_in_the_docs_with_its_fix(code: str) -> None:
    fix = fault_codes.CAUSES[code].fix.replace("|", "\\|")

    row = re.search(rf"^\| `{code}` \| (.+) \| {re.escape(fix)} \|$", DOCUMENT.read_text(), re.MULTILINE)

    assert row is not None


@pytest.mark.parametrize("code", fault_codes.CAUSES)
def test_every_cause_tells_what_was_seen_and_what_to_do(code: str) -> None:
    reason = fault_codes.reason(code, "the detail {with braces}.")

    assert reason.code == code
    assert "the detail {with braces}" in reason.message
    assert reason.message.endswith((".", ")")) and ".." not in reason.message
    assert len(reason.fix) > 15


def test_causes_differ_in_message() -> None:
    messages = [cause.message for cause in fault_codes.CAUSES.values()]

    assert len(set(messages)) == len(messages)


def test_no_detail_leaves_no_empty_words() -> None:
    assert "Seen" not in fault_codes.reason("cuda_unknown_error").message


def test_numbers_of_the_driver_have_distinct_codes() -> None:
    codes = {fault_codes.cuda_reason(number).code for number in fault_codes.CUDA_CODES}

    assert len(codes) == len(fault_codes.CUDA_CODES)


def test_unknown_number_gets_a_code_of_its_own() -> None:
    reason = fault_codes.cuda_reason(719, "CUDA_ERROR_LAUNCH_FAILED")

    assert reason.code == "cuda_error_719"
    assert "719, CUDA_ERROR_LAUNCH_FAILED" in reason.message
    assert reason.fix


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
            "driver_too_old",
        ),
        ("CUDA failed with error out of memory", "cuda_out_of_memory"),
        ("CUDA failed with error initialization error", "cuda_initialization_error"),
        ("CUDA failed with error CUDA driver is a stub library", "cuda_stub_library"),
        ("CUDA failed with error CUDA-capable device(s) is/are busy or unavailable", "cuda_device_busy"),
        ("CUDA failed with error no CUDA-capable device is detected", "cuda_no_device"),
        ("CUDA failed with error invalid device ordinal", "cuda_invalid_device"),
        (
            "CUDA failed with error no kernel image is available for execution on the device",
            "cuda_no_kernel_image",
        ),
        ("CUDA failed with error uncorrectable ECC error encountered", "cuda_ecc_error"),
        (
            "CUDA failed with error the provided PTX was compiled with an unsupported toolchain.",
            "cuda_ptx_too_new",
        ),
        (
            "CUDA failed with error OS call failed or operation not supported on this OS",
            "cuda_os_call_failed",
        ),
        ("CUDA failed with error system not yet initialized", "cuda_not_ready"),
        (
            "CUDA failed with error system has unsupported display driver / cuda driver combination",
            "cuda_driver_mismatch",
        ),
        (
            "CUDA failed with error forward compatibility was attempted on non supported HW",
            "cuda_compat_unsupported",
        ),
        (
            "CUDA failed with error MPS client failed to connect to the MPS control daemon or the MPS server",
            "cuda_mps_failed",
        ),
        ("CUDA failed with error unknown error", "cuda_unknown_error"),
        ("This CTranslate2 package was not compiled with CUDA support", "ctranslate2_without_cuda"),
        ("Library libcublas.so.12 is not found or cannot be loaded", "cublas_broken"),
        ("Cannot load symbol cublasCreate_v2 from library libcublas.so.12", "cublas_broken"),
        (
            "Requested float16 compute type, but the target device or backend do not support efficient "
            "float16 computation.",
            "compute_type_unsupported",
        ),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", "cublas_failed"),
    ],
)
def test_ctranslate2s_words_name_their_cause(text: str, code: str) -> None:
    reason = fault_codes.find_reason_in(text)

    assert reason is not None
    assert reason.code == code
    assert text.rstrip(".") in reason.message


def test_words_that_name_no_cause_give_none() -> None:
    assert fault_codes.find_reason_in("CUDA failed with error integrity checks failed") is None
