"""How many windows go through the model together, as learned from batches that did not fit into memory."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds until a whole batch is tried again: another program may have freed what it held.
REMEMBERED_SECONDS = 600.0


class BatchLimit:
    """Remembers for a while which size of batch fitted. One thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._most: int | None = None
        self._until = 0.0

    def most(self, wanted: int) -> int:
        """So many windows may go together, of those wanted."""
        if self._most is not None and self._clock() >= self._until:
            self._most = None
        return wanted if self._most is None else min(wanted, self._most)

    def note_failure(self, size: int) -> int:
        """A batch of this size, two at least, did not fit; answers with the size to go on with."""
        self._most = max(1, size // 2)
        self._until = self._clock() + REMEMBERED_SECONDS
        return self._most
