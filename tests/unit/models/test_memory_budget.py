from __future__ import annotations

from dataclasses import replace

import pytest

from fake_ports import FakeEngine
from transcriber.domain.errors import EngineStartError
from transcriber.gpu.memory_needs import SHAPES, find_need, find_need_on_cpu, nearest_shape
from transcriber.models.memory_budget import GPU_SHARE, DeviceBudget, MemoryBudget

SIZES = {shape.name: shape.weights_bytes for shape in SHAPES}


def make_memory(
    cpu: int | None = 1_000_000_000,
    gpu: int | None = None,
    peak: int | None = None,
    batch: int = 8,
    *,
    is_set: bool = True,
) -> MemoryBudget:
    return MemoryBudget(
        DeviceBudget(cpu_bytes=cpu, is_set=is_set, gpu_bytes=lambda: gpu),
        compute_type=lambda device: "float16" if device == "cuda" else "int8",
        batch_size=batch,
        weights_bytes=lambda model: SIZES.get(model),
        peak=lambda pid: peak,
    )


def test_need_is_computed_and_larger_models_need_more() -> None:
    memory = make_memory()
    needs = [
        memory.need("cpu", shape.name) for shape in SHAPES if shape.name not in ("tiny.en", "large-v3-turbo")
    ]

    assert needs == sorted(needs)
    assert memory.need("cpu", "base") == find_need_on_cpu("base", "int8", batch_size=8)
    assert memory.need("cuda", "base") == find_need("base", "float16", batch_size=8)
    assert memory.need("cpu", "never-heard-of") == 0


def test_need_covers_what_was_measured_of_real_engines() -> None:
    """On two cores, int8, beam 5, nine minutes of speech, by VmHWM: scripts/long-upload and docs/models.md."""
    assert (find_need_on_cpu("tiny.en", "int8", batch_size=8) or 0) >= 397_000_000
    assert (find_need_on_cpu("tiny.en", "int8") or 0) >= 320_000_000
    assert (find_need_on_cpu("base", "int8") or 0) >= 369_000_000


def test_measured_peak_counts_where_it_is_more() -> None:
    info = replace(FakeEngine("cpu", ()).info, model="base")
    computed = make_memory().need("cpu", "base")

    assert make_memory(peak=1000).held(info) == computed
    memory = make_memory(peak=3_000_000_000)
    assert memory.held(info) == 3_000_000_000
    assert memory.need("cpu", "base") == 3_000_000_000  # remembered for its next start


def test_model_that_ran_and_took_a_little_more_than_computed_may_run_again() -> None:
    info = replace(FakeEngine("cpu", ()).info, model="base")
    memory = make_memory(cpu=1_000_000_000, peak=1_000_000_001)

    memory.held(info)

    memory.check("cpu", "base")
    assert memory.need("cpu", "base") > 1_000_000_000


def test_too_large_a_model_is_refused_on_the_cpu_with_figures_and_ways_out() -> None:
    memory = make_memory(cpu=1_000_000_000)
    memory.check("cpu", "tiny")

    with pytest.raises(
        EngineStartError, match=r"large-v3 needs about [0-9.]+ GB on the CPU .*1\.0 GB there"
    ) as caught:
        memory.check("cpu", "large-v3")

    assert (caught.value.code, caught.value.param) == ("memory_too_small", "model")
    assert caught.value.fix == "Name a smaller model, or raise WHISPER_MEMORY_BUDGET_BYTES."


def test_smaller_batch_is_named_where_it_helps() -> None:
    with pytest.raises(EngineStartError) as caught:
        make_memory(cpu=600_000_000, is_set=False).check("cpu", "base")

    assert (
        caught.value.fix == "Name a smaller model, lower WHISPER_BATCH_SIZE, or give the service more memory."
    )


def test_gpu_refuses_nothing_and_nothing_is_refused_without_a_limit() -> None:
    make_memory(gpu=1).check("cuda", "large-v3")
    make_memory(cpu=None).check("cpu", "large-v3")

    assert make_memory(gpu=1000).limit("cuda") == int(1000 * GPU_SHARE)
    assert make_memory().limit("cuda") is None


def test_model_of_ones_own_counts_as_the_next_larger_size() -> None:
    def name_of(size: int | None) -> str | None:
        shape = nearest_shape("mine", size)
        return shape.name if shape else None

    assert name_of(None) is None
    assert name_of(SIZES["small"]) == "small"
    assert name_of(SIZES["base"] + 20_000_000) == "small"
    assert name_of(10**11) == SHAPES[-1].name
