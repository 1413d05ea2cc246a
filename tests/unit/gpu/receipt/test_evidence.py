"""Receipts: the facts come from the windows, never from a claim."""

from __future__ import annotations

from typing import Any

import pytest

from fake_gpu import make_engine
from transcriber.domain.events import WindowDone
from transcriber.domain.transcript import FallbackReason
from transcriber.gpu.policy import DeviceDecision
from transcriber.gpu.receipt.evidence import WindowEvidence, build_receipt, verdict

ON_GPU = DeviceDecision(device="cuda")
ON_CPU = DeviceDecision(device="cpu")
REASON = FallbackReason(code="no_nvidia_gpu", message="There is no NVIDIA driver on this machine.", fix="…")
FALLEN_BACK = DeviceDecision(device="cpu", fallback_reason=REASON)


def _verdict(claimed: str, windows: list[str], decision: DeviceDecision, attempts: int = 1) -> Any:
    receipt = build_receipt(make_engine(device=claimed), windows, pool_peak_bytes=None, attempts=attempts)
    return verdict(receipt, decision)


@pytest.mark.parametrize(
    ("claimed", "windows", "decision", "gpu_used", "device", "code", "is_lie"),
    [
        ("cuda", ["cuda", "cuda"], ON_GPU, True, "cuda", None, False),
        ("cuda", ["cuda:0"], ON_GPU, True, "cuda", None, False),
        ("cpu", ["cpu"], ON_CPU, False, "cpu", None, False),
        ("cpu", ["cpu"], FALLEN_BACK, False, "cpu", "no_nvidia_gpu", False),
        ("cuda", ["cpu", "cpu"], ON_GPU, False, "cpu", "engine_device_mismatch", True),
        ("cuda", ["cuda", "cpu"], ON_GPU, False, "mixed", "mixed_devices", True),
        ("cpu", ["cuda"], ON_CPU, True, "cuda", None, True),
        ("cpu", ["cpu"], ON_GPU, False, "cpu", "gpu_not_used", False),
        ("cuda", [], ON_GPU, False, "unknown", "no_gpu_evidence", False),
        ("cpu", [], ON_CPU, False, "unknown", None, False),
        ("cuda", ["CUDAX"], ON_GPU, False, "cpu", "engine_device_mismatch", True),
    ],
)
def test_verdict_follows_the_windows(
    claimed: str,
    windows: list[str],
    decision: DeviceDecision,
    gpu_used: bool,
    device: str,
    code: str | None,
    is_lie: bool,
) -> None:
    result = _verdict(claimed, windows, decision)

    found = result.fallback_reason.code if result.fallback_reason else None
    assert (result.gpu_used, result.device, found, result.is_lie) == (gpu_used, device, code, is_lie)


def test_a_lie_is_told_to_the_caller() -> None:
    codes = [notice.code for notice in _verdict("cuda", ["cpu"], ON_GPU).notices]
    reverse = [notice.code for notice in _verdict("cpu", ["cuda"], ON_CPU).notices]

    assert codes == reverse == ["engine_device_mismatch"]


def test_job_finished_on_the_cpu_after_a_crash_is_mixed_and_no_lie() -> None:
    evidence = WindowEvidence()
    evidence.add(WindowDone(index=0, device="cuda"))
    evidence.add_peak(100)
    evidence.begin_attempt(keeps_windows=True)
    evidence.add(WindowDone(index=1, device="cpu"))
    evidence.add_peak(None)

    receipt = evidence.receipt(make_engine(device="cpu"))
    result = verdict(receipt, FALLEN_BACK)

    assert (receipt.windows_gpu, receipt.windows_cpu, receipt.windows_total) == (1, 1, 2)
    assert (receipt.attempts, receipt.pool_peak_bytes) == (2, 100)
    assert (result.device, result.gpu_used, result.is_lie) == ("mixed", False, False)


def test_windows_whose_work_was_thrown_away_are_no_evidence() -> None:
    evidence = WindowEvidence()
    evidence.add(WindowDone(index=0, device="cuda"))
    evidence.begin_attempt(keeps_windows=False)
    evidence.add(WindowDone(index=0, device="cpu"))
    evidence.add(WindowDone(index=1, device="cpu"))

    receipt = evidence.receipt(make_engine(device="cpu"))

    assert (receipt.windows_gpu, receipt.windows_cpu, receipt.attempts) == (0, 2, 2)


def test_kept_window_done_again_counts_where_it_ran_last() -> None:
    evidence = WindowEvidence()
    evidence.add(WindowDone(index=0, device="cuda"))
    evidence.begin_attempt(keeps_windows=True)
    evidence.add(WindowDone(index=0, device="cpu"))

    assert evidence.devices == ("cpu",)


@pytest.mark.parametrize(
    ("windows", "device", "code"),
    [
        (["cuda", "cuda"], "cuda", "no_gpu_evidence"),
        (["cuda", "cpu"], "mixed", "mixed_devices"),
        ([], "unknown", "no_gpu_evidence"),
    ],
)
def test_fewer_windows_than_planned_are_no_proof(windows: list[str], device: str, code: str) -> None:
    receipt = build_receipt(make_engine(), windows, pool_peak_bytes=None, attempts=2, planned=3)

    result = verdict(receipt, ON_GPU)

    assert receipt.windows_total == 3
    assert (result.gpu_used, result.device) == (False, device)
    assert result.fallback_reason is not None
    assert result.fallback_reason.code == code
    assert [notice.code for notice in result.notices] == [code]


def test_more_windows_than_planned_all_count() -> None:
    receipt = build_receipt(make_engine(), ["cuda"] * 3, pool_peak_bytes=None, attempts=1, planned=2)

    assert (receipt.windows_total, verdict(receipt, ON_GPU).gpu_used) == (3, True)


def test_window_without_a_device_is_no_evidence() -> None:
    evidence = WindowEvidence()
    evidence.add(WindowDone(index=0, device="cuda"))
    evidence.add(WindowDone(index=1, device=""))

    assert evidence.devices == ("cuda",)


@pytest.mark.parametrize("order", [("cuda", "cpu"), ("cpu", "cuda")])
def test_window_reported_twice_counts_where_it_did_not_flatter(order: tuple[str, str]) -> None:
    evidence = WindowEvidence()
    for device in order:
        evidence.add(WindowDone(index=0, device=device))

    assert evidence.devices == ("cpu",)
