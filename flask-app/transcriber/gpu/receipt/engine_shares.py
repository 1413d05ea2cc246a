"""Whose work an answer is: the engines that did its windows, and what can be said of all of them together. Pure.

A job may be begun by one engine and finished by another, after a restart even on another device. What a receipt says in
one word (its compute type, its GPU) has to be true of all that is in the answer, so it is 'mixed' where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ...domain.ports import EngineInfo
from ...domain.transcript import Corroboration, EngineShare, Receipt
from .engine_facts import EngineFacts

#: In place of a name, where engines of several did the work.
MIXED = "mixed"

T = TypeVar("T")


def share_of(engine: EngineInfo, seen: EngineFacts) -> EngineShare:
    """What is known of an engine as it takes a job; it has done nothing yet."""
    return EngineShare(
        claimed_device=engine.device,
        device_name=engine.device_name,
        device_uuid=engine.device_uuid,
        compute_type=engine.compute_type,
        requested_compute_type=engine.requested_compute_type,
        engine_pid=engine.pid,
        partition=seen.partition,
        kernels=seen.kernels,
        is_jit=seen.is_jit,
        libraries=seen.libraries,
        worker=seen.worker,
    )


def divide(
    engines: Sequence[EngineShare], runs: Sequence[int], is_on_gpu: Mapping[int, bool]
) -> tuple[EngineShare, ...]:
    """What each engine did of the answer, in order; those that did nothing of it are left out.

    engines: of each run. runs: of each window, the run that did it. is_on_gpu: of the windows that left evidence.
    """
    shares: dict[int, EngineShare] = {}
    for window, run in enumerate(runs):
        # The same engine may have taken the job twice.
        first = engines.index(engines[run])
        share = shares.get(first, engines[first])
        shares[first] = replace(
            share,
            windows=share.windows + 1,
            windows_gpu=share.windows_gpu + is_on_gpu.get(window, False),
            windows_cpu=share.windows_cpu + (not is_on_gpu.get(window, True)),
        )
    return tuple(shares[first] for first in sorted(shares))


def merged(receipt: Receipt, shares: Sequence[EngineShare], nvml: Corroboration | None) -> Receipt:
    """The receipt, with what holds for all these engines in place of what holds for the one that finished the job.

    nvml: its word on that one. Without shares (no window has anything in it) the receipt is that engine's.
    """
    if not shares:
        return replace(receipt, nvml=nvml)
    # An engine that has a GPU, and none of whose windows ran there, lends the answer no GPU.
    on_gpu = [share for share in shares if share.windows_gpu]
    last = shares[-1]
    return replace(
        receipt,
        claimed_device=_one(share.claimed_device for share in shares),
        device_name=_one_known(share.device_name for share in on_gpu),
        device_uuid=_one_known(share.device_uuid for share in on_gpu),
        compute_type=_one(share.compute_type for share in shares),
        requested_compute_type=_one(share.requested_compute_type for share in shares),
        engine_pid=last.engine_pid,
        partition=_one_known(share.partition for share in on_gpu),
        kernels=_one_known(share.kernels for share in on_gpu),
        is_jit=_equal([share.is_jit for share in on_gpu]),
        libraries=last.libraries,
        nvml=_word(receipt, shares, nvml),
        worker=_one_known(share.worker for share in shares),
        engines=tuple(shares),
    )


def _word(
    receipt: Receipt, shares: Sequence[EngineShare], nvml: Corroboration | None
) -> Corroboration | None:
    """NVML's word speaks of the engine that finished the job, and so only of its windows."""
    # Two workers' engines may have the same pid, each on its own machine.
    own = (receipt.engine_pid, receipt.worker)
    ended = [share for share in shares if share.windows_gpu and (share.engine_pid, share.worker) != own]
    if not ended:
        return nvml if (shares[-1].engine_pid, shares[-1].worker) == own else None
    why = "an engine that did windows of this job on the GPU has ended, and can't be asked after"
    return Corroboration(verdict="not_available", why=why)


def _one(values: Iterable[str]) -> str:
    found = set(values)
    return found.pop() if len(found) == 1 else MIXED


def _one_known(values: Iterable[str | None]) -> str | None:
    known = [value for value in values if value is not None]
    return _one(known) if known else None


def _equal(values: Sequence[T]) -> T | None:
    return values[0] if values and all(value == values[0] for value in values) else None
