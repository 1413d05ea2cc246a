"""The engine's exception texts turned into codes with fixes. Pure; the texts are CTranslate2's own."""

from __future__ import annotations

from dataclasses import dataclass

from ...domain.selftest import FIXES

#: The device, or this machine, had too little memory for what was asked.
OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What went wrong. sticky: the CUDA context is broken, so only a new process can go on."""

    code: str
    message: str
    fix: str
    sticky: bool = False


class FaultError(Exception):
    """A fault with a code, raised inside the engine child."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


#: (text in the exception, code, fix, sticky); the first row whose text occurs wins.
_KNOWN = (
    (
        "libcublas",
        "cublas_not_loadable",
        "Install nvidia-cublas-cu12 into the virtual environment (scripts/run --gpu), then see /diagnostics for the rejected candidates.",
        True,
    ),
    (
        "out of memory",
        OUT_OF_MEMORY,
        "Use a smaller model, a smaller WHISPER_BATCH_SIZE or an int8 compute type, or free the device's memory.",
        False,
    ),
    (
        "CUBLAS_STATUS_ALLOC_FAILED",
        OUT_OF_MEMORY,
        "Free the device's memory, or lower WHISPER_BATCH_SIZE.",
        False,
    ),
    ("bad_alloc", OUT_OF_MEMORY, "Free memory on this machine, or use a smaller model.", False),
    (
        "CUDA failed with error",
        "cuda_error",
        "See /diagnostics for the state of the driver and the device; nvidia-smi and dmesg say more.",
        True,
    ),
    (
        "cuBLAS failed with status",
        "cuda_error",
        "See /diagnostics for the library in use; another compute type may avoid it.",
        True,
    ),
    (
        "not compiled with CUDA support",
        "cuda_error",
        "This build of CTranslate2 has no CUDA (ARM wheels have none): use the CPU, or a build with CUDA.",
        True,
    ),
    (
        "compute type",
        "compute_type_not_supported",
        "Set WHISPER_GPU_COMPUTE_TYPE or WHISPER_CPU_COMPUTE_TYPE to one that /diagnostics lists for this device.",
        False,
    ),
)

_DAMAGED_TEXTS = (
    "Unable to open file",
    "invalid payload size",
    "is incomplete",
    "Unsupported model",
    "unsupported model",
    "vocabulary",
    "tokenizer",
    "config.json",
    "Model ",
)

_DAMAGED_FIX = "Delete the model's folder and put the model in place again (python -m transcriber models)."


def fault_of(error: BaseException) -> Fault:
    """The fault behind an exception that arose while computing."""
    if isinstance(error, FaultError):
        return error.fault
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"out of memory: {text}"
    for needle, code, fix, sticky in _KNOWN:
        if needle in text:
            return Fault(code=code, message=text, fix=fix, sticky=sticky)
    return Fault(
        code="engine_failed",
        message=f"{type(error).__name__}: {text}",
        fix="Try again; if it happens with this file only, please report it with the service's log.",
    )


def load_fault_of(error: BaseException) -> Fault:
    """The fault behind an exception that arose while loading the model."""
    fault = fault_of(error)
    if fault.code == "engine_failed" and any(needle in fault.message for needle in _DAMAGED_TEXTS):
        return Fault(code="model_damaged", message=fault.message, fix=_DAMAGED_FIX)
    return fault


def not_finite(where: str) -> Fault:
    """Numbers that are no numbers: the device computes this type wrongly, without an error."""
    return Fault(
        code="numbers_not_finite",
        message=f"The device computed numbers that are not finite ({where}).",
        fix=FIXES["numbers_not_finite"],
    )
