"""Proofs A to D of gpu_truth §4 on a real GPU, each beside its negative control: the same window on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_proof import Bench, Run
from transcriber.gpu.policy import choose_compute_type

pytestmark = pytest.mark.gpu

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def on_gpu(bench: Bench) -> Run:
    selected = bench.status.selected
    assert selected is not None
    return bench.prove("cuda", choose_compute_type("auto", selected.compute_types, selected))


@pytest.fixture(scope="module")
def on_cpu(bench: Bench) -> Run:
    """With the GPU visible, so that driver and pool can be asked."""
    return bench.prove("cpu", "float32")


def test_a_the_framework_says_where_the_output_lies(on_gpu: Run, on_cpu: Run) -> None:
    assert on_gpu.is_framework_sure
    assert not on_cpu.is_framework_sure


def test_b_the_driver_knows_the_output_s_address_as_the_device_s(on_gpu: Run, on_cpu: Run) -> None:
    assert on_gpu.is_pointer_on_device, on_gpu.facts["where"]
    assert on_gpu.facts["where"]["ordinal"] == 0
    assert not on_cpu.is_pointer_on_device, on_cpu.facts["where"]


def test_c_the_pool_holds_the_weights_and_grows_with_the_window(
    bench: Bench, on_gpu: Run, on_cpu: Run
) -> None:
    weights = (bench.model / "model.bin").stat().st_size

    assert on_gpu.pool_used_before > 0.4 * weights
    assert on_gpu.pool_growth > MEGABYTE
    assert on_gpu.facts["pool_after"]["high"] > on_gpu.facts["pool_after"]["used"]
    assert on_cpu.facts["pool_before"] is not None, (
        "the driver can't be asked, so this control controls nothing"
    )
    assert (on_cpu.pool_used_before, on_cpu.pool_growth) == (0, 0)


def test_d_the_numbers_are_right_and_wrong_ones_are_seen(on_gpu: Run, on_cpu: Run) -> None:
    assert on_gpu.is_right(on_cpu.numbers)
    assert on_gpu.facts["text"].lower().split()[:3] == on_cpu.facts["text"].lower().split()[:3]

    broken = np.random.default_rng(0).permutation(on_gpu.numbers.ravel()).reshape(on_gpu.numbers.shape)
    assert not Run(on_gpu.facts, broken).is_right(on_cpu.numbers)
    assert not Run(on_gpu.facts, np.zeros_like(broken)).is_right(on_cpu.numbers)
    assert not Run(on_gpu.facts | {"is_finite": False}, on_gpu.numbers).is_right(on_cpu.numbers)


def test_the_gpu_is_faster_than_the_cpu(on_gpu: Run, on_cpu: Run) -> None:
    """E: plausibility, no proof alone."""
    assert on_gpu.facts["encode_seconds"] < on_cpu.facts["encode_seconds"]


def test_every_compute_type_of_the_card_is_close_to_the_cpu(bench: Bench, on_cpu: Run) -> None:
    selected = bench.status.selected
    assert selected is not None
    offered = [name for name in selected.compute_types if name not in ("int8",)]

    wrong = [name for name in offered if not bench.prove("cuda", name).is_right(on_cpu.numbers)]

    assert offered
    assert wrong == []


def test_a_forked_child_sees_no_gpu(bench: Bench) -> None:
    counts = bench.ask("fork", "cuda", "default")

    assert counts["in_parent"] >= 1
    assert counts["in_forked_child"] == 0
