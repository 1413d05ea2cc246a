"""Which device a request gets, with which number format, and when the server is ready. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..domain.errors import ConfigError, EngineError, GpuRequiredError
from ..domain.ports import EngineInfo
from ..domain.transcript import FallbackReason
from .probe import fault_codes
from .probe.facts import GpuDevice, GpuStatus

CPU_COMPUTE_TYPES = ("int8", "int8_float32", "float32")
DEFAULT_CPU_COMPUTE_TYPE = "int8_float32"

#: Cards that compute float16 wrongly without saying so: nan, "!!!!", or one sentence.
_WRONG_FLOAT16 = re.compile(r"\bGTX 16\d\d\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceDecision:
    """Where a job shall run, and why not on the GPU if it wanted one."""

    device: str
    fallback_reason: FallbackReason | None = None
    require_gpu: bool = False


def decide(
    policy: str, use_gpu: bool, require_gpu: bool, status: GpuStatus, *, is_proven: bool = False
) -> DeviceDecision:
    """The device for a request. Raises GpuRequiredError where only the GPU will do and it can't serve.

    `is_proven`: a GPU engine is up and has proven itself, which says more than any probe.
    """
    is_required = require_gpu or policy == "required"
    if not use_gpu and not require_gpu:
        return _decide_without_gpu(policy)
    cause = _cause(policy, status, is_proven)
    if cause is None:
        return DeviceDecision(device="cuda", require_gpu=is_required)
    if is_required:
        raise gpu_required(cause)
    return DeviceDecision(device="cpu", fallback_reason=cause)


def _decide_without_gpu(policy: str) -> DeviceDecision:
    if policy != "required":
        return DeviceDecision(device="cpu")
    raise GpuRequiredError(
        "This server answers from the GPU only, and the request says use_gpu=false.",
        fix="Leave use_gpu out or send use_gpu=true; or set WHISPER_GPU_POLICY=preferred and restart.",
        param="use_gpu",
    )


def _cause(policy: str, status: GpuStatus, is_proven: bool) -> FallbackReason | None:
    if policy == "off":
        return fault_codes.reason("gpu_policy_off")
    return None if is_proven or status.usable else status.cause


def gpu_required(cause: FallbackReason) -> GpuRequiredError:
    """The error of a request or a server that will have the GPU or nothing."""
    return GpuRequiredError(
        f"The GPU is required and can't serve ({cause.code}): {cause.message}", fix=cause.fix
    )


def after_engine_failure(decision: DeviceDecision, error: EngineError) -> DeviceDecision:
    """The CPU in place of a GPU engine that failed. Raises GpuRequiredError where that is not allowed."""
    cause = reason_of_engine_failure(error)
    if decision.require_gpu:
        raise gpu_required(cause) from error
    return DeviceDecision(device="cpu", fallback_reason=cause)


#: Codes that say little where the message says more.
_GENERAL = frozenset({"cuda_error", "engine_crashed", "engine_start_crashed"})


def reason_of_engine_failure(error: EngineError) -> FallbackReason:
    """Why a GPU engine failed: the cause its text names, else its own code and words."""
    is_named = error.code in fault_codes.CAUSES
    known = fault_codes.find_reason_in(error.message) if error.code in _GENERAL or not is_named else None
    if known is None and is_named:
        return FallbackReason(
            code=error.code, message=error.message, fix=error.fix or fault_codes.CAUSES[error.code].fix
        )
    fix = error.fix or "Run 'python -m transcriber doctor' and look at the log for the engine's last words."
    return known or FallbackReason(code=error.code, message=error.message, fix=fix)


def choose_compute_type(setting: str, supported: tuple[str, ...], device: GpuDevice | None) -> str:
    """The number format to ask CTranslate2 for, on this GPU or (None) on the CPU. Raises ConfigError.

    `supported` empty: CTranslate2 did not say; an explicit setting is then taken as it is.
    """
    if device is None:
        return _choose_for_cpu(setting)
    if setting == "auto":
        return _choose_for_gpu(supported, device)
    if supported and setting not in supported:
        raise _unsupported("WHISPER_GPU_COMPUTE_TYPE", setting, supported, device.name)
    return setting


def _choose_for_cpu(setting: str) -> str:
    if setting in ("auto", ""):
        return DEFAULT_CPU_COMPUTE_TYPE
    if setting not in CPU_COMPUTE_TYPES:
        raise _unsupported("WHISPER_CPU_COMPUTE_TYPE", setting, CPU_COMPUTE_TYPES, "the CPU")
    return setting


def _choose_for_gpu(supported: tuple[str, ...], device: GpuDevice) -> str:
    offers_float16 = "float16" in supported or not supported
    if offers_float16 and device.capability >= (7, 0) and not _WRONG_FLOAT16.search(device.name):
        return "float16"
    if device.capability == (6, 1) and "int8_float32" in supported:
        return "int8_float32"
    return "float32"


def _unsupported(name: str, setting: str, supported: tuple[str, ...], device: str) -> ConfigError:
    allowed = ", ".join(sorted(supported))
    return ConfigError(
        f"{name} is {setting}, which {device} can't compute; it offers {allowed}.",
        code="compute_type_unsupported",
        param=name,
        fix=f"Set {name} to one of {allowed} and restart.",
    )


def find_proven(engines: tuple[EngineInfo, ...]) -> EngineInfo | None:
    """An engine whose own self-test ran on the GPU. A claim without that is no proof."""
    return next(
        (e for e in engines if e.device == "cuda" and e.warmup_device.partition(":")[0] == "cuda"), None
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSituation:
    """All that bears on whether the GPU serves: the policy, the probe, the engines.

    `wants_gpu`: WHISPER_DEFAULT_USE_GPU. `failure`: how the last start of a GPU engine failed, or why the last one was
    ended as unfit, if no start has succeeded since. `at_rest`: a GPU engine that was ended to make room, with nothing
    wrong: its proof stands, with its date. `left`: why jobs for the default model pass the GPU by, proven or not: it had
    too little memory for them.
    """

    policy: str
    status: GpuStatus
    engines: tuple[EngineInfo, ...] = ()
    wants_gpu: bool = True
    failure: FallbackReason | None = None
    at_rest: EngineInfo | None = None
    left: FallbackReason | None = None

    @property
    def proven(self) -> EngineInfo | None:
        """The engine that has proven the GPU; if none is loaded, the one that had proven it until it was put to rest."""
        return find_proven(self.engines) or self._proven_at_rest

    @property
    def _proven_at_rest(self) -> EngineInfo | None:
        is_well = self.status.usable and self.failure is None
        return find_proven((self.at_rest,)) if self.at_rest is not None and is_well else None

    @property
    def cause(self) -> FallbackReason | None:
        """Why the GPU does not serve; None while nothing is known to be wrong."""
        if self.policy == "off":
            return fault_codes.reason("gpu_policy_off")
        return self.left if self.proven else self.status.cause or self.failure or self.left

    @property
    def health(self) -> str:
        """ok, degraded (the CPU serves though the GPU is wanted) or failed (nothing may serve)."""
        if self.policy == "off" or (self.proven is not None and self.left is None):
            return "ok"
        if self.policy == "required":
            # The GPU is tried for each request, with the lightest engine, until there is room again.
            return "failed" if self.proven is None else "degraded"
        return "degraded" if self.wants_gpu and self.cause is not None else "ok"


def readiness(situation: GpuSituation) -> tuple[bool, dict[str, Any]]:
    """For /health/ready: whether it can serve under the policy, and the body that says so."""
    health = situation.health
    cause = None if health == "ok" else situation.cause or fault_codes.reason("gpu_not_proven")
    return health != "failed", _body(health, situation.policy, cause)


def gpu_health(situation: GpuSituation) -> tuple[bool, dict[str, Any]]:
    """For /health/gpu: whether the GPU is proven and serves the default model, or the policy is off."""
    proven = situation.proven
    if situation.policy == "off":
        return True, {**_body("ok", "off", None), "gpu_proven": False}
    if proven is None:
        cause = situation.cause or fault_codes.reason("gpu_not_proven")
        return False, {**_body("failed", situation.policy, cause), "gpu_proven": False}
    proven_at = proven.proven_at or proven.started_at
    facts = {
        "device_name": proven.device_name,
        "device_uuid": proven.device_uuid,
        "engine_pid": proven.pid,
        "is_loaded": proven in situation.engines,
        "proven_at": proven_at.isoformat(),
    }
    status = "ok" if situation.left is None else "degraded"
    return situation.left is None, {
        **_body(status, situation.policy, situation.left),
        "gpu_proven": True,
        **facts,
    }


def _body(status: str, policy: str, cause: FallbackReason | None) -> dict[str, Any]:
    shown = None if cause is None else {"code": cause.code, "message": cause.message, "fix": cause.fix}
    return {"status": status, "gpu_policy": policy, "fallback_reason": shown}
