"""What the stand-in engine's self-test finds, as it is told: one word for each way that it can end."""

from __future__ import annotations

from typing import Any

#: Of these, `hang` and `die` come to no report; `cpu` is a lie of an engine that claims the GPU.
SELFTESTS = ("pass", "nan", "differ", "words", "memory", "cpu", "slow", "hang", "die")

PASS_SECONDS = 0.05
SLOW_SECONDS = 1.0

_CODES = {
    "nan": "numbers_not_finite",
    "differ": "numbers_differ",
    "words": "words_differ",
    "memory": "out_of_memory",
}

_MESSAGES = {"out_of_memory": "CUDA failed with error out of memory"}


def report_of(word: str, device: str, compute_type: str) -> dict[str, Any]:
    """A report in the protocol's form."""
    on_gpu, seconds = device == "cuda", SLOW_SECONDS if word == "slow" else PASS_SECONDS
    code = _CODES.get(word)
    steps = [
        _step("visible", "passed" if on_gpu else "not_applicable"),
        _step("usable", "passed" if on_gpu else "not_applicable"),
        _step("computed", "failed" if code else "passed", code),
        _step("fast", "skipped" if code else "passed" if on_gpu else "not_applicable"),
    ]
    return {
        "device": "cpu" if word == "cpu" else device,
        "compute_type": compute_type,
        "steps": steps,
        "seconds": 3 * seconds,
        "run_seconds": None if code else seconds,
        "cold_seconds": None,
    }


def _step(name: str, outcome: str, code: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "outcome": outcome,
        "seconds": 0.01,
        "numbers": {},
        "code": code,
        "message": _MESSAGES.get(code, f"Told to find {code}.") if code else None,
        "fix": "Tell it otherwise." if code else None,
    }
