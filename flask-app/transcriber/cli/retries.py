"""How long a server that does not answer is asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..domain.errors import TranscriberError
from ..system.backoff import Backoff

#: The pauses between two tries.
PAUSES = Backoff(0.2, 5.0)


class InterruptedExchangeError(Exception):
    """The connection broke, or the server said that it can't serve just now.

    `pause`: as it asked for. `is_busy`: it serves, and its queue is full.
    """

    def __init__(self, message: str, pause: float | None = None, *, is_busy: bool = False) -> None:
        super().__init__(message)
        self.pause = pause
        self.is_busy = is_busy


@dataclass
class Retries:
    """Pauses between tries, longer each time; gives up when nothing has worked for `seconds`."""

    seconds: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    _since: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)

    def worked(self) -> None:
        """The server answered: all patience is back."""
        self._since = None
        self._failures = 0

    def wait(self, error: InterruptedExchangeError) -> None:
        """Pause before the next try. Raises TranscriberError (server_unreachable) when it has taken too long.

        A full queue is waited for without end: the server works, and places become free.
        """
        if error.is_busy:
            self.worked()
        now = self.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self.seconds:
            raise unreachable(str(error))
        self._failures += 1
        self.sleep(max(PAUSES.after(self._failures), error.pause or 0.0))


def unreachable(message: str) -> TranscriberError:
    """The error of a server that can't be asked."""
    return TranscriberError(
        message,
        code="server_unreachable",
        fix="Check the address of --server and that the service runs (GET /health there), or leave --server out.",
    )
