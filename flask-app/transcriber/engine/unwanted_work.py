"""Since when an engine child computes, though nobody waits for what comes of it."""

from __future__ import annotations

from ..domain.ports import Clock


class UnwantedWork:
    """Told after every change who waits and what computes. Its caller holds a lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None

    def note(self, *, is_wanted: bool, is_computing: bool) -> None:
        """How things stand now."""
        if is_wanted or not is_computing:
            self._since = None
        elif self._since is None:
            self._since = self._clock.monotonic()

    @property
    def seconds(self) -> float:
        """For how long work has been done for nobody; 0: none is."""
        since = self._since
        return 0.0 if since is None else self._clock.monotonic() - since
