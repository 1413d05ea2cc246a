"""How long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass

#: Beyond this many doublings every wait is the longest.
_MOST_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before each further try: `first`, then twice as long each time, up to `longest`."""

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """The wait after this many failures in a row; 0 after none."""
        if failures < 1:
            return 0.0
        return min(self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), self.longest)
