"""A pipe whose other end only the parent holds: when it closes, the parent is gone and so is the child."""

from __future__ import annotations

import os
import threading


def end_with_parent(lifeline: int) -> None:
    """End this process as soon as the parent's end of the pipe closes, even inside a native call."""
    threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)
