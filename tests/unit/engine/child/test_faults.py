"""CTranslate2's own words become codes with fixes."""

from __future__ import annotations

import pytest

from transcriber.engine.child.faults import FaultError, fault_of, load_fault_of, not_finite


@pytest.mark.parametrize(
    ("error", "code", "sticky"),
    [
        (
            RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"),
            "cublas_not_loadable",
            True,
        ),
        (RuntimeError("CUDA failed with error out of memory"), "out_of_memory", False),
        (MemoryError(), "out_of_memory", False),
        (RuntimeError("std::bad_alloc"), "out_of_memory", False),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"), "out_of_memory", False),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED"), "cuda_error", True),
        (RuntimeError("CUDA failed with error unknown error"), "cuda_error", True),
        (RuntimeError("CUDA failed with error an illegal memory access was encountered"), "cuda_error", True),
        (ValueError("This CTranslate2 package was not compiled with CUDA support"), "cuda_error", True),
        (ValueError("MatMul: batch dimension of inputs a and b should match"), "engine_failed", False),
        (FaultError(not_finite("encoder")), "numbers_not_finite", False),
    ],
)
def test_a_computing_error_has_its_code(error: Exception, code: str, sticky: bool) -> None:
    fault = fault_of(error)

    assert (fault.code, fault.sticky) == (code, sticky)
    assert fault.message
    assert fault.fix


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Unable to open file 'model.bin' in model '/tmp/x'", "model_damaged"),
        ("Variable 'decoder/embeddings/weight' has an invalid payload size", "model_damaged"),
        ("Unsupported model binary version. This executable supports", "model_damaged"),
        (
            "Requested float16 compute type, but the target device or backend do not support efficient float16",
            "compute_type_not_supported",
        ),
        ("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version", "cuda_error"),
        ("something new", "engine_failed"),
    ],
)
def test_a_loading_error_has_its_code(text: str, code: str) -> None:
    assert load_fault_of(RuntimeError(text)).code == code
