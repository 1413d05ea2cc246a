"""Who did which windows, and what holds for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fake_gpu import make_engine
from transcriber.domain.transcript import Corroboration, EngineShare
from transcriber.gpu.receipt.engine_facts import EngineFacts
from transcriber.gpu.receipt.engine_shares import divide, merged, share_of
from transcriber.gpu.receipt.evidence import build_receipt

FACTS = EngineFacts(partition="whole", kernels="machine code 8.6", is_jit=False, libraries={"libcuda": "/l"})
L4 = share_of(make_engine(pid=1), FACTS)
A100 = replace(L4, engine_pid=2, device_name="NVIDIA A100", device_uuid="GPU-2", partition="1g.5gb")
INT8 = replace(L4, engine_pid=3, compute_type="int8_float16", requested_compute_type="int8_float16")
CPU = EngineShare(
    claimed_device="cpu", compute_type="int8_float32", requested_compute_type="int8", engine_pid=4
)
AGREES = Corroboration(verdict="agrees", why="it lists it")


def receipt_of(finisher: EngineShare, *shares: EngineShare) -> Any:
    """The receipt of a job that this engine finished."""
    devices = ["cuda"] * sum(s.windows_gpu for s in shares) + ["cpu"] * sum(s.windows_cpu for s in shares)
    info = make_engine(
        pid=finisher.engine_pid,
        device=finisher.claimed_device,
        compute_type=finisher.compute_type,
        device_name=finisher.device_name,
        device_uuid=finisher.device_uuid,
    )
    plain = build_receipt(info, devices, pool_peak_bytes=None, attempts=2)
    return merged(plain, shares, AGREES if finisher.claimed_device == "cuda" else None)


def did(share: EngineShare, *, gpu: int = 0, cpu: int = 0) -> EngineShare:
    return replace(share, windows=gpu + cpu, windows_gpu=gpu, windows_cpu=cpu)


def test_each_window_is_its_engines_and_one_engine_that_came_back_is_one() -> None:
    shares = divide([L4, CPU, L4, A100], [0, 0, 1, 2], {0: True, 2: False, 3: True})

    assert [(s.engine_pid, s.windows, s.windows_gpu, s.windows_cpu) for s in shares] == [
        (1, 3, 2, 0),
        (4, 1, 0, 1),
    ]


def test_engine_that_finished_a_job_without_a_window_says_nothing_of_it() -> None:
    """The GPU's engine did it all, the service died, and a CPU's engine found nothing left to do."""
    receipt = receipt_of(CPU, did(L4, gpu=3))

    assert (receipt.compute_type, receipt.claimed_device) == ("float16", "cuda")
    assert (receipt.device_name, receipt.device_uuid) == (L4.device_name, L4.device_uuid)
    assert (receipt.partition, receipt.is_jit, receipt.libraries) == ("whole", False, {"libcuda": "/l"})
    assert receipt.engine_pid == 1
    assert receipt.nvml.verdict == "not_available"


@pytest.mark.parametrize(
    ("shares", "compute_type", "name", "uuid", "partition", "claimed"),
    [
        ((did(L4, gpu=2), did(CPU, cpu=1)), "mixed", "NVIDIA L4", L4.device_uuid, "whole", "mixed"),
        ((did(L4, gpu=2), did(INT8, gpu=1)), "mixed", "NVIDIA L4", L4.device_uuid, "whole", "cuda"),
        ((did(L4, gpu=2), did(A100, gpu=1)), "float16", "mixed", "mixed", "mixed", "cuda"),
    ],
)
def test_where_engines_differ_the_receipt_says_mixed_and_has_each(
    shares: tuple[EngineShare, ...], compute_type: str, name: str, uuid: str, partition: str, claimed: str
) -> None:
    receipt = receipt_of(shares[-1], *shares)

    found = (receipt.compute_type, receipt.device_name, receipt.device_uuid, receipt.partition)
    assert found == (compute_type, name, uuid, partition)
    assert receipt.claimed_device == claimed
    assert receipt.engines == shares
    assert receipt.nvml.verdict == "not_available"


def test_nvmls_word_is_kept_for_the_one_engine_that_it_speaks_of() -> None:
    assert receipt_of(L4, did(L4, gpu=3)).nvml == AGREES
    assert receipt_of(CPU, did(CPU, cpu=3)).nvml is None


def test_windows_on_the_cpu_have_no_gpu_whatever_their_engine_claimed() -> None:
    receipt = receipt_of(L4, did(L4, cpu=3))

    assert (receipt.claimed_device, receipt.compute_type) == ("cuda", "float16")
    assert (receipt.device_name, receipt.device_uuid, receipt.partition) == (None, None, None)
    assert (receipt.kernels, receipt.is_jit) == (None, None)


def test_job_without_a_window_has_the_facts_of_its_engine() -> None:
    receipt = receipt_of(L4)

    assert (receipt.compute_type, receipt.engines, receipt.nvml) == ("float16", (), AGREES)


def test_worker_is_named_where_one_did_it_all_and_mixed_where_several_did() -> None:
    """Two machines' engines may have the same pid: they are two engines all the same."""
    first, second = replace(L4, worker="a"), replace(L4, worker="b")

    shares = divide([first, second], [0, 1, 1], {0: True, 1: True, 2: True})

    assert [(share.worker, share.windows) for share in shares] == [("a", 1), ("b", 2)]
    assert receipt_of(second, *shares).worker == "mixed"
    assert receipt_of(second, *shares).nvml.verdict == "not_available"
    assert receipt_of(second, shares[1]).worker == "b"
    assert receipt_of(L4, did(L4, gpu=1)).worker is None
