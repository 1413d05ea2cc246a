"""Starts the decode server, and says on its control socket why it can't: what it needs may not be importable.

Run as `python -m transcriber.media.child.server_start FD`, FD being its end of the control socket.
"""

from __future__ import annotations

import contextlib
import socket
import sys

from ..messages import encode_message


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    try:
        # Not above: this imports PyAV.
        from .server import serve

        serve(control)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"[:300]
        with contextlib.suppress(OSError):
            control.send(encode_message({"type": "failed", "problem": problem}))
        raise


if __name__ == "__main__":
    main()
