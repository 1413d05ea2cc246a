"""Standard output and error of a service: a log that can't be written is lost, and the service goes on."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections.abc import Callable

#: What a pipe takes at once if it takes anything (PIPE_BUF).
_PIECE_BYTES = 4096

#: How long a reader may let a full pipe wait before lines are dropped.
_PATIENCE_MS = 50

#: After that, how long until one line is given that time again.
_RETRY_SECONDS = 5.0

# gevent replaces select later: a log line must not give way to other greenlets.
_poll = select.poll


class LogStream(io.TextIOBase):
    """Writes to a descriptor, and drops what can't be written: a full disk, a reader that died or does not read."""

    encoding = "utf-8"

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._clock = clock
        self._stalled_until = 0.0
        self.dropped = 0

    def write(self, text: str) -> int:
        """Never raises OSError, and never waits for longer than a moment."""
        data = text.encode("utf-8", "backslashreplace")
        while data:
            if not self._has_room():
                self.dropped += 1
                break
            try:
                data = data[os.write(self._descriptor, data[:_PIECE_BYTES]) :]
            except OSError:
                self.dropped += 1
                break
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The descriptor stays: others write to it, too."""

    def _has_room(self) -> bool:
        poll = _poll()
        poll.register(self._descriptor, select.POLLOUT)
        now = self._clock()
        patience = 0 if now < self._stalled_until else _PATIENCE_MS
        has_room = bool(poll.poll(patience))
        if not has_room and patience:
            self._stalled_until = now + _RETRY_SECONDS
        elif has_room:
            self._stalled_until = 0.0
        return has_room


def guard_standard_streams() -> None:
    """Call it before anything is opened: a closed descriptor would be given to the next file or socket."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    sys.stdout, sys.stderr = LogStream(1), LogStream(2)
