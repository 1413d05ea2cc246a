"""Counted work: what a request may cost, in steps and not in seconds, so that it costs the same on every machine."""

from __future__ import annotations

import threading

from .errors import WorkCancelledError, WorkLimitError


class WorkBudget:
    """So many steps for one request. Safe to cancel from another thread."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.spent = 0
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """The result is not wanted any more."""
        self._cancelled.set()

    def spend(self, steps: int) -> None:
        """Count work that has to be done. Raises WorkLimitError, WorkCancelledError."""
        if not self.affords(steps):
            raise WorkLimitError()

    def affords(self, steps: int) -> bool:
        """Count work that can be left out; False where it has to be. Raises WorkCancelledError."""
        if self._cancelled.is_set():
            raise WorkCancelledError()
        if self.spent + steps > self.steps:
            return False
        self.spent += steps
        return True
