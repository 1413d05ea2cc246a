"""What is tried next when the GPU has too little memory: fewer windows at once, a lighter format, the CPU. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..domain.transcript import MemoryStep
from .memory_needs import find_need

SMALLER_BATCH, LIGHTER, CPU = "smaller_batch", "lighter_compute_type", "cpu"

#: Lighter formats in place of one, the most exact first. bfloat16 stays with bfloat16's range of numbers.
_LIGHTER = {
    "float32": ("float16", "int8_float32", "int8_float16"),
    "float16": ("int8_float16", "int8_float32"),
    "bfloat16": ("int8_bfloat16", "int8_float32"),
    "int8_float32": ("int8_float16",),
    "int8": ("int8_float16",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DegradationStep:
    """What an engine is started with: its number format, and how many windows go through it together."""

    compute_type: str
    batch_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Degradation:
    """A step, and where it leads; level None: off the GPU."""

    step: MemoryStep
    level: DegradationStep | None


def next_degradation(
    level: DegradationStep,
    *,
    model: str,
    at_load: bool,
    supported: tuple[str, ...],
    is_allowed: Callable[[str], bool],
) -> Degradation:
    """The step after this level, on which memory ran out.

    at_load: before the first batch. A batch takes memory only while it runs, so a smaller one can't help then.
    supported: the card's formats; empty: not known. is_allowed: whether the table of known good combinations and
    the policy permit a format.
    """
    if level.batch_size > 1 and not at_load:
        smaller = replace(level, batch_size=level.batch_size // 2)
        return Degradation(step=shrink_step(level.batch_size, smaller.batch_size), level=smaller)
    for compute_type in _LIGHTER.get(level.compute_type, ()):
        is_known = not supported or compute_type in supported
        if is_known and _is_lighter(model, compute_type, level.compute_type) and is_allowed(compute_type):
            step = MemoryStep(code=LIGHTER, before=level.compute_type, after=compute_type)
            return Degradation(step=step, level=replace(level, compute_type=compute_type))
    step = MemoryStep(code=CPU, before=f"cuda, {level.compute_type}", after="cpu")
    return Degradation(step=step, level=None)


def shrink_step(before: int, after: int) -> MemoryStep:
    """Fewer windows at once."""
    return MemoryStep(code=SMALLER_BATCH, before=str(before), after=str(after))


def _is_lighter(model: str, compute_type: str, than: str) -> bool:
    """Whether it needs less memory, by the table; a model that is not in it is taken to need less."""
    need, before = find_need(model, compute_type), find_need(model, than)
    return need is None or before is None or need < before
