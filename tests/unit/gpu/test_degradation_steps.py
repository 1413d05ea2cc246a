"""The ladder when memory runs out: each step is the next one down, and none leads to what is known to be wrong."""

from __future__ import annotations

import pytest

from transcriber.domain.transcript import MemoryStep
from transcriber.gpu.degradation_steps import CPU, LIGHTER, SMALLER_BATCH, DegradationStep, next_degradation
from transcriber.gpu.memory_needs import find_need

ALL = ("float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16")


def climb_down(
    compute_type: str,
    batch_size: int = 1,
    *,
    model: str = "large-v3",
    supported: tuple[str, ...] = ALL,
    bad: tuple[str, ...] = (),
    at_load: bool = False,
) -> list[MemoryStep]:
    """All steps to the CPU, with every level failing."""
    level: DegradationStep | None = DegradationStep(compute_type=compute_type, batch_size=batch_size)
    steps = []
    while level is not None:
        degradation = next_degradation(
            level, model=model, at_load=at_load, supported=supported, is_allowed=lambda name: name not in bad
        )
        steps.append(degradation.step)
        level = degradation.level
        assert len(steps) < 20, "the ladder does not end"
    return steps


def test_batch_shrinks_first_then_the_format_gets_lighter_then_the_cpu() -> None:
    assert climb_down("float16", 4) == [
        MemoryStep(code=SMALLER_BATCH, before="4", after="2"),
        MemoryStep(code=SMALLER_BATCH, before="2", after="1"),
        MemoryStep(code=LIGHTER, before="float16", after="int8_float16"),
        MemoryStep(code=CPU, before="cuda, int8_float16", after="cpu"),
    ]


def test_at_load_no_batch_is_in_memory_so_a_smaller_one_is_not_tried() -> None:
    assert [step.code for step in climb_down("float16", 8, at_load=True)] == [LIGHTER, CPU]


@pytest.mark.parametrize(
    ("compute_type", "supported", "bad", "formats"),
    [
        ("float32", ALL, (), ["float16", "int8_float16"]),
        ("float32", ("float32", "int8", "int8_float32"), (), ["int8_float32"]),
        ("float32", ALL, ("float16", "int8_float16"), ["int8_float32"]),
        ("float16", ALL, ("int8_float16",), ["int8_float32"]),
        ("float16", ALL, ("int8_float16", "int8_float32"), []),
        ("bfloat16", ALL, (), ["int8_bfloat16"]),
        ("float16", (), (), ["int8_float16"]),
        ("int8_float16", ALL, (), []),
    ],
)
def test_only_formats_that_the_card_offers_and_the_table_permits_are_taken(
    compute_type: str, supported: tuple[str, ...], bad: tuple[str, ...], formats: list[str]
) -> None:
    steps = climb_down(compute_type, supported=supported, bad=bad)

    assert [step.after for step in steps] == [*formats, "cpu"]


@pytest.mark.parametrize(
    "model", ["tiny", "base", "small", "medium", "large-v3", "large-v3-turbo", "unknown/model"]
)
@pytest.mark.parametrize("compute_type", ALL)
def test_each_step_needs_less_memory_and_the_ladder_ends_on_the_cpu(model: str, compute_type: str) -> None:
    steps = climb_down(compute_type, 8, model=model)

    needs = [find_need(model, step.before) for step in steps if step.code == LIGHTER]
    after = [find_need(model, step.after) for step in steps if step.code == LIGHTER]
    assert all(a is None or b is None or a < b for a, b in zip(after, needs, strict=True))
    assert steps[-1].code == CPU
