from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from transcriber.engine.child.memory import give_back


def test_freed_memory_goes_back_to_the_system() -> None:
    # Arrays too small for a mapping of their own, with one that stays above them, so that the heap can't shrink.
    blocks = [np.ones(100_000, dtype=np.uint8) for _ in range(1000)]
    stays = blocks[-1]
    del blocks
    gc.collect()
    before = _resident_bytes()

    give_back()

    assert before - _resident_bytes() > 50_000_000
    assert stays[0] == 1


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
