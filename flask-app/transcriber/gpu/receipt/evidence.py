"""Evidence of where a job ran, and the verdict on it. Counts windows; believes no claim. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...domain.events import WindowDone
from ...domain.ports import EngineInfo
from ...domain.transcript import FallbackReason, Notice, Receipt
from ..policy import DeviceDecision
from ..probe import fault_codes

#: In place of a window's device: its work is in the answer, and nothing was said of where it ran.
NO_DEVICE = ""


def is_cuda(device: str) -> bool:
    """Whether an encoder output's device ('cuda', 'cuda:0', 'cpu') is a GPU."""
    return device.partition(":")[0].lower() == "cuda"


class WindowEvidence:
    """Collects the device of each window of one job, over all of its attempts."""

    def __init__(self) -> None:
        #: How many windows the job's plan has, as far as it is known.
        self.planned = 0
        self._earlier: dict[int, str] = {}
        self._current: dict[int, str] = {}
        self.attempts = 1
        self.pool_peak_bytes: int | None = None

    def add(self, window: WindowDone) -> None:
        """One window is done. Reported twice in one attempt, the less flattering device counts.

        One that is done without a word about the device is no evidence.
        """
        if window.device == NO_DEVICE:
            return
        seen = self._current.get(window.index)
        if seen is None or is_cuda(seen):
            self._current[window.index] = window.device

    def add_peak(self, pool_peak_bytes: int | None) -> None:
        """The GPU memory an attempt used at its peak; the highest counts."""
        known = [peak for peak in (self.pool_peak_bytes, pool_peak_bytes) if peak is not None]
        self.pool_peak_bytes = max(known, default=None)

    def begin_attempt(self, *, keeps_windows: bool) -> None:
        """Another attempt follows. `keeps_windows`: the text of finished windows stays in the answer.

        Work that is thrown away is no evidence for the answer. A kept window done again counts where
        it ran last.
        """
        self._earlier = {**self._earlier, **self._current} if keeps_windows else {}
        self._current = {}
        self.attempts += 1

    @property
    def by_window(self) -> dict[int, str]:
        """The device of each window that went into the answer and left evidence, by its index."""
        return {**self._earlier, **self._current}

    @property
    def devices(self) -> tuple[str, ...]:
        """The same, in order of window."""
        merged = self.by_window
        return tuple(merged[index] for index in sorted(merged))

    def receipt(self, info: EngineInfo) -> Receipt:
        """The receipt, with the engine that finished the job."""
        return build_receipt(
            info,
            self.devices,
            pool_peak_bytes=self.pool_peak_bytes,
            attempts=self.attempts,
            planned=self.planned,
        )


def build_receipt(
    info: EngineInfo,
    window_devices: Sequence[str],
    *,
    pool_peak_bytes: int | None,
    attempts: int,
    planned: int = 0,
) -> Receipt:
    """Count the windows by device, beside what the engine said of itself.

    `planned`: windows that the job has by its plan; each that no device was reported of lacks in the counts.
    """
    on_gpu = sum(is_cuda(device) for device in window_devices)
    return Receipt(
        device_name=info.device_name,
        device_uuid=info.device_uuid,
        windows_gpu=on_gpu,
        windows_cpu=len(window_devices) - on_gpu,
        windows_total=max(planned, len(window_devices)),
        claimed_device=info.device,
        compute_type=info.compute_type,
        requested_compute_type=info.requested_compute_type,
        engine_pid=info.pid,
        pool_peak_bytes=pool_peak_bytes,
        attempts=attempts,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptVerdict:
    """Where the job ran, by evidence. `is_lie`: the engine claimed otherwise and should be discarded.

    device: 'cuda', 'cpu', 'mixed', or 'unknown' when no window left evidence.
    """

    gpu_used: bool
    device: str
    fallback_reason: FallbackReason | None
    notices: tuple[Notice, ...] = ()
    is_lie: bool = False


def verdict(receipt: Receipt, decision: DeviceDecision) -> ReceiptVerdict:
    """What the receipt proves, beside what was decided for the job."""
    device = _device(receipt)
    is_lie = _is_lie(receipt, device)
    gpu_used = device == "cuda" and _reported(receipt) == receipt.windows_total
    reason = None if gpu_used else _reason(receipt, device, decision, is_lie)
    notices = [_notice(reason)] if reason is not None and reason != decision.fallback_reason else []
    if device == "mixed" and decision.fallback_reason is not None:
        notices.append(_notice(decision.fallback_reason))
    if receipt.steps:
        taken = ", ".join(f"{step.code} from {step.before} to {step.after}" for step in receipt.steps)
        notices.append(_notice(fault_codes.reason("gpu_memory_steps", taken)))
    if device == "cuda" and is_lie:
        notices.append(_notice(fault_codes.reason("engine_device_mismatch", _counts(receipt))))
    return ReceiptVerdict(
        gpu_used=gpu_used,
        device=device,
        fallback_reason=reason,
        notices=tuple(notices),
        is_lie=is_lie,
    )


def _reported(receipt: Receipt) -> int:
    return receipt.windows_gpu + receipt.windows_cpu


def _device(receipt: Receipt) -> str:
    """Where the windows ran that there is evidence of."""
    reported = _reported(receipt)
    if reported == 0:
        return "unknown"
    if receipt.windows_gpu == reported:
        return "cuda"
    return "mixed" if receipt.windows_gpu else "cpu"


def _is_lie(receipt: Receipt, device: str) -> bool:
    """Whether the windows contradict the engine. A job of several attempts may be mixed in all honesty."""
    if device == "unknown":
        return False
    if device == "mixed":
        return receipt.attempts == 1
    return is_cuda(receipt.claimed_device) != (device == "cuda")


def _reason(receipt: Receipt, device: str, decision: DeviceDecision, is_lie: bool) -> FallbackReason | None:
    counts = _counts(receipt)
    if device == "mixed":
        return fault_codes.reason("mixed_devices", counts)
    if device == "cuda":
        return fault_codes.reason("no_gpu_evidence", counts)
    if is_lie:
        return fault_codes.reason("engine_device_mismatch", counts)
    if decision.device != "cuda":
        return decision.fallback_reason
    return fault_codes.reason("no_gpu_evidence" if device == "unknown" else "gpu_not_used", counts)


def _counts(receipt: Receipt) -> str:
    return (
        f"it claimed {receipt.claimed_device}; {receipt.windows_gpu} of {receipt.windows_total} windows "
        f"ran on the GPU, {receipt.windows_cpu} on the CPU"
    )


def _notice(reason: FallbackReason) -> Notice:
    return Notice(code=reason.code, message=reason.message)
