"""What NVML's numbers mean for a fact that it did not give."""

from __future__ import annotations

#: nvmlReturn_t; only those that say something of this machine.
NVML_ERRORS: dict[int, str] = {
    1: "NVML was not started",
    2: "NVML does not know this GPU",
    3: "this GPU or driver does not report it",
    4: "this user may not ask for it",
    6: "NVML does not find this GPU",
    9: "the NVIDIA kernel module is not loaded",
    12: "NVML does not find a library of the driver's",
    13: "this driver's NVML does not have the call",
    15: "the GPU has fallen off the bus",
    16: "the GPU needs a reset",
    18: "the driver's library and its kernel module have different versions",
    999: "NVML does not know why",
}


def meaning(code: int) -> str:
    """Why a fact is not available, with NVML's number."""
    return f"{NVML_ERRORS.get(code, 'NVML answered with an error')} (NVML error {code})"
