"""An engine child's first message, and the errors of a child that does not get so far."""

from __future__ import annotations

from datetime import datetime

from ..domain.errors import EngineStartError
from ..domain.ports import EngineInfo
from ..domain.selftest import SelfTestReport
from .protocol import MALFORMED, Message, engine_info, selftest_report


def greeting_of(message: Message, started_at: datetime, ready_at: datetime, wanted: str) -> EngineInfo:
    """What a child that is ready says of itself. wanted: the device it was asked to run on.

    Raises EngineStartError: with the cause that the child names, engine_protocol_error or engine_device_mismatch.
    """
    try:
        if message["type"] == "start_failed":
            raise _failed(message)
        if message["type"] != "ready":
            raise ValueError(message["type"])
        info = engine_info(message, started_at, ready_at)
    except MALFORMED as error:
        raise EngineStartError(
            f"The engine child began with a message that can't be read: {error!r}.",
            code="engine_protocol_error",
            fix="Check that WHISPER_ENGINE_COMMAND is an engine child of this version.",
        ) from error
    report = info.selftest
    tested = report.device if report else None
    if wanted == "cuda" and {info.device, info.warmup_device, tested} != {"cuda"}:
        raise EngineStartError(
            f"The engine was to run on cuda; it says {info.device}, and its self-test ran on {info.warmup_device}, {tested}.",
            code="engine_device_mismatch",
            fix="Check WHISPER_ENGINE_COMMAND, and see /diagnostics for what the GPU lacks.",
        )
    if report is None or not report.passed:
        raise unfit(report)
    return info


def _failed(message: Message) -> EngineStartError:
    """The child's own words on why it is not ready. Raises one of MALFORMED."""
    error = EngineStartError(
        str(message["message"]), code=str(message["code"]), fix=str(message.get("fix", ""))
    )
    report = message.get("selftest")
    error.selftest = None if report is None else selftest_report(report)
    return error


def unfit(report: SelfTestReport | None) -> EngineStartError:
    """It did not pass its self-test."""
    step = report.failure if report else None
    error = EngineStartError(
        (step and step.message) or "The engine did not pass its self-test.",
        code=(step and step.code) or "engine_start_failed",
        fix=(step and step.fix) or "",
    )
    error.selftest = report
    return error


def not_started(error: OSError) -> EngineStartError:
    """The operating system refused to start it."""
    return EngineStartError(
        f"The engine child can't be started: {error}.",
        code="engine_start_crashed",
        fix="Check WHISPER_ENGINE_COMMAND and the limits on processes and memory.",
    )


def never_ready(timeout: float, last_words: str) -> EngineStartError:
    """It said nothing in time."""
    return EngineStartError(
        f"The engine child was not ready after {timeout:g} s; its last words: {last_words or 'none'}.",
        code="engine_start_timeout",
        fix="Raise WHISPER_ENGINE_START_TIMEOUT_SECONDS if it was still loading; else see the log.",
    )


def died_early(obituary: str | None) -> EngineStartError:
    """It ended before it was ready."""
    return EngineStartError(
        f"The engine child died before it was ready: {obituary}.",
        code="engine_start_crashed",
        fix="See the log for the child's last words. If it was killed, the machine may lack memory.",
    )
