"""How much memory engines take, for the pool: computed before the first start of a model, measured from then on.

On a CPU (CTranslate2 keeps there what it keeps on a GPU, and converts the weights while it loads them):
need = PROCESS_BYTES + weights × (1 + factor of the type) + max(scores of one window, batch × what is kept of a window)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..domain.errors import EngineStartError
from ..domain.ports import EngineInfo
from ..gpu.memory_needs import GIGABYTE, find_need, find_need_on_cpu, nearest_shape
from ..system.memory import peak_bytes

#: Of a GPU's memory, the share that engines may take; the driver and the display have some of it, too.
GPU_SHARE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceBudget:
    """Bytes that engines may take together. None: not known, and nothing is refused.

    is_set: the CPU's is the operator's own figure. gpu_bytes: asked anew each time, for the probe may know it only later.
    """

    cpu_bytes: int | None
    is_set: bool
    gpu_bytes: Callable[[], int | None]


class MemoryBudget:
    """Implements engine.making_room.Memory."""

    def __init__(
        self,
        budget: DeviceBudget,
        *,
        compute_type: Callable[[str], str],
        batch_size: int,
        weights_bytes: Callable[[str], int | None],
        peak: Callable[[int], int | None] = peak_bytes,
    ) -> None:
        """compute_type: by device. weights_bytes: the size of a model's model.bin. peak: what a process has held at most."""
        self._budget = budget
        self._compute_type = compute_type
        self._batch_size = batch_size
        self._weights_bytes = weights_bytes
        self._peak = peak
        self._lock = threading.Lock()
        #: The most that engines of this device and model were seen to take; and what was computed for them.
        self._seen: dict[tuple[str, str], int] = {}
        self._computed: dict[tuple[str, str], int] = {}

    def limit(self, device: str) -> int | None:
        """Bytes for all engines of this device together."""
        if device == "cpu":
            return self._budget.cpu_bytes
        total = self._budget.gpu_bytes()
        return None if total is None else int(total * GPU_SHARE)

    def need(self, device: str, model: str) -> int:
        """Bytes of an engine at its peak: the computed figure, or more if more was seen."""
        with self._lock:
            return max(self._computed_need(device, model), self._seen.get((device, model), 0))

    def _computed_need(self, device: str, model: str) -> int:
        """Computed once, under the lock; 0 while the model is not known."""
        key = (device, model)
        if key not in self._computed and (computed := self._compute(device, model)) is not None:
            self._computed[key] = computed
        return self._computed.get(key, 0)

    def held(self, engine: EngineInfo) -> int:
        """Bytes to count for an engine that is up."""
        peak = self._peak(engine.pid) if engine.device == "cpu" else None
        key = (engine.device, engine.model)
        with self._lock:
            self._seen[key] = max(peak or 0, self._seen.get(key, 0))
        return self.need(engine.device, engine.model)

    def check(self, device: str, model: str) -> None:
        """Raises EngineStartError (memory_too_small) for a model that is too large for the CPU's memory.

        A GPU refuses nothing here: what does not fit goes down the ladder, and then to the CPU.
        """
        limit = self.limit(device)
        with self._lock:
            # What was seen does not count: an engine that needs a little more than was computed has worked before.
            need = self._computed_need(device, model)
        if device != "cpu" or limit is None or need <= limit:
            return
        raise EngineStartError(
            f"The model {model} needs about {need / GIGABYTE:.1f} GB on the CPU ({self._compute_type(device)}, "
            f"{self._batch_size} windows at once); engines may take {limit / GIGABYTE:.1f} GB there.",
            code="memory_too_small",
            fix=self._fix(model, limit),
            param="model",
        )

    def _fix(self, model: str, limit: int) -> str:
        where = "raise WHISPER_MEMORY_BUDGET_BYTES" if self._budget.is_set else "give the service more memory"
        smaller = self._compute("cpu", model, batch_size=1) or 0
        batch = ", lower WHISPER_BATCH_SIZE" if smaller <= limit and self._batch_size > 1 else ""
        return f"Name a smaller model{batch}, or {where}."

    def _compute(self, device: str, model: str, batch_size: int | None = None) -> int | None:
        weights = self._weights_bytes(model)
        shape = nearest_shape(model, weights)
        if shape is None:
            return None
        of = find_need if device == "cuda" else find_need_on_cpu
        return of(shape.name, self._compute_type(device), batch_size=batch_size or self._batch_size)
