"""The real engine child, stopped for a share of each tenth of a second: an engine that is FACTOR times slower.

WHISPER_ENGINE_COMMAND="python tests/support/slow_engine.py FACTOR", with the child's own arguments after it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

PERIOD_SECONDS = 0.1


def slow_down(process: int, factor: float) -> None:
    """Until the process is gone."""
    running = PERIOD_SECONDS / factor
    while os.getppid() == process:
        os.kill(process, signal.SIGSTOP)
        time.sleep(PERIOD_SECONDS - running)
        os.kill(process, signal.SIGCONT)
        time.sleep(running)


def main() -> None:
    factor, arguments = float(sys.argv[1]), sys.argv[2:]
    engine = os.getpid()
    # A child of the engine slows the engine, so that the service's child is the engine itself.
    if os.fork() == 0:
        os.closerange(0, 1024)
        try:
            slow_down(engine, factor)
        except ProcessLookupError:
            pass
        os._exit(0)
    os.execv(sys.executable, [sys.executable, "-m", "transcriber.engine.child.main", *arguments])


if __name__ == "__main__":
    main()
