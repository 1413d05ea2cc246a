"""Every way a GPU fails that can be staged without one: how, and the code that the service then names.

docs/gpu-failures.md is the same list for people, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cublas_faults import CUBLAS_FAULTS
from fake_gpu import build_cublas
from transcriber.gpu.probe.fault_codes import CUDA_CODES

#: cuInit's answers of gpu_truth 1.4; the driver gives some of them later on real hardware, with the same meaning.
CUINIT_CODES = (2, 3, 34, 46, 100, 101, 209, 214, 304, 802, 803, 804, 805, 999)


@dataclass(frozen=True, kw_only=True)
class FailureRow:
    """One failure. `name` is the parameter of its test.

    variables: of the stand-in driver. arrange: fills the folder of libraries, which has a stand-in driver already.
    options: of the stand-in engine. is_seen_by_probe: named before any engine starts. refusal: the words that an
    answer to require_gpu must have, where that is not the code. timeout: of the probe, in seconds.
    """

    name: str
    code: str
    variables: dict[str, str] = field(default_factory=dict)
    arrange: Callable[[Path], None] = build_cublas
    options: str = ""
    is_seen_by_probe: bool = True
    refusal: str | None = None
    timeout: float = 60.0


def _without_driver(folder: Path) -> None:
    (folder / "libcuda.so.1").unlink()
    build_cublas(folder)


def _with_text_for_driver(folder: Path) -> None:
    (folder / "libcuda.so.1").write_text("this is no library\n" * 20)
    build_cublas(folder)


def _driver_rows() -> Iterator[FailureRow]:
    for number in CUINIT_CODES:
        yield FailureRow(
            name=f"cuinit-{number}", code=CUDA_CODES[number], variables={"FAKE_CUINIT": str(number)}
        )
    yield FailureRow(name="cuinit-719", code="cuda_error_719", variables={"FAKE_CUINIT": "719"})
    for name, code, variables in (
        ("driver-too-old", "driver_too_old", {"FAKE_DRVVER": "11080"}),
        ("ptx-too-new", "cuda_ptx_too_new", {"FAKE_CT2": "222"}),
        ("card-too-old", "cuda_no_kernel_image", {"FAKE_CC": "52"}),
        ("no-device", "no_cuda_devices", {"FAKE_COUNT": "0", "FAKE_COUNT_CODE": "0"}),
        ("nodes-hidden", "cuda_no_device", {"FAKE_NODE": "/nowhere/dev/nvidia0"}),
        ("devices-hidden", "cuda_devices_hidden", {"FAKE_COUNT": "0", "CUDA_VISIBLE_DEVICES": "-1"}),
        ("driver-aborts", "gpu_probe_crashed", {"FAKE_ABORT": "1"}),
    ):
        yield FailureRow(name=name, code=code, variables=variables)
    yield FailureRow(name="driver-hangs", code="gpu_probe_timeout", variables={"FAKE_HANG": "1"}, timeout=4.0)
    yield FailureRow(name="driver-missing", code="no_nvidia_gpu", arrange=_without_driver)
    yield FailureRow(name="driver-no-library", code="libcuda_unloadable", arrange=_with_text_for_driver)


def _cublas_rows() -> Iterator[FailureRow]:
    for fault in CUBLAS_FAULTS:
        yield FailureRow(name=f"cublas-{fault.name}", code=fault.code, arrange=fault.arrange)


#: What CTranslate2 says as a GPU engine starts: the words of gpu_truth 1.4, with the code that the child gives them.
_AT_START = (
    ("start-cublas", "cublas_not_loadable", "Library libcublas.so.12 is not found or cannot be loaded", "cublas_broken"),
    ("start-symbol", "cublas_not_loadable", "Cannot load symbol cublasCreate_v2 from library libcublas.so.12", "cublas_broken"),
    ("start-cublas-status", "cuda_error", "cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", "cublas_failed"),
    (
        "start-compute-type",
        "compute_type_not_supported",
        "Requested float16 compute type, but the target device or backend do not support efficient float16 computation.",
        "compute_type_unsupported",
    ),
    (
        "start-without-cuda",
        "cuda_error",
        "This CTranslate2 package was not compiled with CUDA support",
        "ctranslate2_without_cuda",
    ),
    ("start-invalid-device", "cuda_error", "CUDA failed with error invalid device ordinal", "cuda_invalid_device"),
    ("start-kernel-image", "cuda_error", "CUDA failed with error no kernel image is available for execution on the device", "cuda_no_kernel_image"),
    ("start-nan", "numbers_not_finite", "The device computed numbers that are not finite (encoder).", "numbers_not_finite"),
)  # fmt: skip

#: How a GPU engine ends in mid-work: its last words, how it dies, and the code.
_AT_WORK = (
    ("work-ecc", "CUDA failed with error uncorrectable ECC error encountered", "70", "cuda_ecc_error"),
    ("work-gpu-lost", "CUDA failed with error unknown error", "70", "cuda_unknown_error"),
    ("work-abort", "terminate called: what(): unspecified launch failure", "ABRT", "engine_crashed"),
    ("work-segfault", "Fatal Python error: Segmentation fault", "SEGV", "engine_crashed"),
)


def _engine_rows() -> Iterator[FailureRow]:
    for name, told, words, code in _AT_START:
        options = f"--fail-start {told} --fail-start-on cuda --error-message '{words}'"
        yield _engine_row(name, code, options)
    cudnn = "Unable to load any of libcudnn_ops.so.9.1.0. Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor"
    dies = f"--crash-at-start --crash-with ABRT --fail-start-on cuda --last-words '{cudnn}'"
    yield _engine_row("start-dies", "engine_start_crashed", dies)
    yield _engine_row("start-hangs", "engine_start_timeout", "--hang-at-start --fail-start-on cuda")
    yield _engine_row("start-claims-cpu", "engine_device_mismatch", "--claim cpu")
    yield _engine_row("start-warms-up-on-cpu", "engine_device_mismatch", "--warmup-on cpu")
    small = "--room float16=-1 --room int8_float16=-1 --room int8_float32=-1"
    yield _engine_row("start-out-of-memory", "cuda_out_of_memory", small)
    for name, words, how, code in _AT_WORK:
        options = f"--crash-at 0 --crash-with {how} --last-words '{words}' --faults-on cuda"
        yield _engine_row(name, code, options, refusal=words)
    none = "--room float16=0 --room int8_float16=0 --room int8_float32=0"
    yield _engine_row("work-out-of-memory", "cuda_out_of_memory", none)
    yield _engine_row("work-hangs", "engine_stalled", "--freeze-at 0 --faults-on cuda")
    yield _engine_row("work-nan", "numbers_not_finite", "--nan-at 0 --faults-on cuda")
    reports = "--error-at 0 --error-code numbers_not_finite --faults-on cuda"
    yield _engine_row("work-reports-nan", "numbers_not_finite", reports)
    failed = "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED"
    words = f"--error-at 0 --error-code cuda_error --error-message '{failed}' --faults-on cuda"
    yield _engine_row("work-cublas-status", "cublas_failed", words)
    yield _engine_row("work-on-cpu", "engine_device_mismatch", "--windows-on cpu")
    yield _engine_row("work-partly-on-cpu", "mixed_devices", "--windows-on cuda,cpu")
    yield _engine_row("work-untold", "no_gpu_evidence", "--untold 1")


def _engine_row(name: str, code: str, options: str, refusal: str | None = None) -> FailureRow:
    return FailureRow(name=name, code=code, options=options, is_seen_by_probe=False, refusal=refusal)


FAILURES: tuple[FailureRow, ...] = (*_driver_rows(), *_cublas_rows(), *_engine_rows())
