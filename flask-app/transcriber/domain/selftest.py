"""What a self-test of an engine found: four steps, each with its outcome, its numbers and its fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

#: How many times as long as the test at the engine's start a later one may take, whatever the limit for silence is.
PATIENCE = 10.0

#: What is said in the clip that self-tests and the pipeline check use.
CLIP_TEXT = "Ask what you can do for your country."

#: Word errors for each expected word: two of the clip's eight words may be wrong.
MOST_WORD_ERRORS = 0.3

#: In this order; the first that fails ends the test.
STEPS = ("visible", "usable", "computed", "fast")

PASSED, FAILED, NOT_APPLICABLE, SKIPPED = "passed", "failed", "not_applicable", "skipped"

_PRECISION = (
    "Set WHISPER_GPU_COMPUTE_TYPE=float32 (int8_float32 needs less memory) and restart; if it stays, run 'nvidia-smi -q -d ECC' "
    "and 'sudo dmesg | grep -i -e nvrm -e xid', and set WHISPER_GPU_POLICY=preferred until the card is replaced."
)

#: The fix for each fault that only a self-test shows.
FIXES: Mapping[str, str] = MappingProxyType(
    {
        "numbers_not_finite": "Set WHISPER_GPU_COMPUTE_TYPE=float32 (or int8_float32) in place of float16 and restart: "
        "cards such as GTX 16xx need it.",
        "numbers_differ": _PRECISION,
        "words_differ": _PRECISION,
        "engine_device_mismatch": "Nothing to do at once: the engine is replaced. If it comes back, unset "
        "WHISPER_ENGINE_COMMAND and restart.",
        "engine_too_slow": "See with 'nvidia-smi' who else uses the GPU, its clocks ('nvidia-smi -q -d CLOCK,PERFORMANCE') and its "
        "temperature. If this speed is right from now on, delete selftest/speeds.json in the data folder and restart.",
        "selftest_timeout": "The engine is replaced. If it comes back, run 'timeout 60 nvidia-smi' and 'sudo dmesg | grep -i -e nvrm "
        "-e xid', and reboot if the driver hangs.",
    }
)

#: The codes of an engine that did not pass; the one that is started in its place may.
UNFIT = frozenset(FIXES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step. numbers: what was measured, plain values. code, message, fix: of a step that failed.

    A step that passed, or does not apply, may have a message too: what could not be looked at, and why.
    """

    name: str
    outcome: str
    seconds: float = 0.0
    numbers: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None
    message: str | None = None
    fix: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestReport:
    """One self-test. device: where the encoder's output lay, by its own word; unknown before the step computed.

    run_seconds: one pass over the clip once everything is warm, the median where there were several.
    cold_seconds: the first pass of a new engine, in which kernels are compiled and libraries loaded.
    """

    device: str
    compute_type: str
    steps: tuple[Step, ...]
    seconds: float
    run_seconds: float | None = None
    cold_seconds: float | None = None

    @property
    def failure(self) -> Step | None:
        """The step that failed."""
        return next((step for step in self.steps if step.outcome == FAILED), None)

    @property
    def passed(self) -> bool:
        """Whether no step failed, and the engine has computed."""
        return self.failure is None and any(
            step.name == "computed" and step.outcome == PASSED for step in self.steps
        )

    @property
    def outcome(self) -> str:
        """passed or failed."""
        return PASSED if self.passed else FAILED

    def held_to(self, device: str) -> SelfTestReport:
        """The same, but a failure if the engine was to compute on another device than it did, whatever it says itself."""
        if not self.passed or self.device == device:
            return self
        message = f"The engine was to compute on {device}, and its self-test ran on {self.device}."
        code = "engine_device_mismatch"
        steps = tuple(
            replace(step, outcome=FAILED, code=code, message=message, fix=FIXES[code])
            if step.name == "computed"
            else step
            for step in self.steps
        )
        return replace(self, steps=steps)
