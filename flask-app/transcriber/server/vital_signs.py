"""In the worker: asks the store and the proof every few seconds, and notes the answers where the master sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ..domain.errors import TranscriberError
from .watchdog import Vitals

#: How often the store is asked, in seconds, once the service serves; before, it is looked at more often.
ASK_SECONDS = 5.0
START_SECONDS = 0.1


class VitalSigns:
    """A store that hangs leaves the last note to grow old. One that answers with an error is for readiness to name: no restart fixes it."""

    def __init__(
        self,
        vitals: Vitals,
        *,
        ask_store: Callable[[], object],
        proof_seconds_left: Callable[[], float],
        is_serving: Callable[[], bool],
    ) -> None:
        """proof_seconds_left: how long the proof stays young enough; infinite where none is required."""
        self._vitals = vitals
        self._ask_store = ask_store
        self._proof_seconds_left = proof_seconds_left
        self._is_serving = is_serving

    def watch(self, closing: threading.Event) -> None:
        """Thread: until the service closes."""
        is_serving = False
        while not closing.wait(ASK_SECONDS if is_serving else START_SECONDS):
            is_serving = is_serving or self._is_serving()
            with suppress(TranscriberError):
                self._ask_store()
            now = time.monotonic()
            self._vitals.note(
                store_at=now, proof_until=now + self._proof_seconds_left(), is_serving=is_serving
            )
