"""Pure: how an engine divides its cores, batches side by side times threads each.

Measured with tiny.en and base on two cores: two batches on one thread each do a quarter more than one on two
threads, and a clip alone takes a tenth longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from .batching import LanePlan

#: With this many cores or more, four batches run side by side: a batch gains little from more than four threads.
_MANY_CORES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Lanes, and the threads that each of them computes on."""

    lanes: LanePlan
    threads: int


def choose_shape(device: str, cores: int, *, threads: int, lanes: int) -> Shape:
    """The shape for a device. threads: of all lanes together; lanes: side by side; 0 of either: as fits the cores.

    A GPU is done with each batch so soon that they take turns.
    """
    total = threads or cores
    if device != "cpu":
        return Shape(lanes=LanePlan(), threads=total)
    shared = lanes or (4 if total >= _MANY_CORES else min(2, total))
    return Shape(lanes=LanePlan(shared=shared, has_short=True), threads=max(1, total // shared))
