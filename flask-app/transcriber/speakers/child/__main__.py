"""The diarization child: python -m transcriber.speakers.child FD CONFIG_JSON.

FD is an inherited Unix stream socket that speaks ../messages.py. The child ends at once when the socket closes.
"""

import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_LOGGER = logging.getLogger("transcriber.speakers")
_PROGRESS_SECONDS = 0.5

Message = dict[str, Any]


class DiarizerSocket:
    """The socket, a JSON object a line. A service that is gone ends the process."""

    def __init__(self, sock: socket.socket) -> None:
        self._writer = sock.makefile("w", encoding="utf-8", newline="\n")
        self._reader = sock.makefile("r", encoding="utf-8", newline="\n")

    def send(self, message: Message) -> None:
        try:
            self._writer.write(json.dumps(message) + "\n")
            self._writer.flush()
        except OSError:
            end_process(0)

    def receive(self) -> Message:
        line = self._reader.readline()
        if not line:
            end_process(0)
        return dict(json.loads(line))


def main(arguments: list[str]) -> NoReturn:
    """Load the models, prove them, serve. Never returns."""
    _guard_process()
    sock = socket.socket(fileno=int(arguments[0]))
    channel = DiarizerSocket(sock)
    threading.Thread(target=_watch, args=(sock,), name="watch", daemon=True).start()
    config = json.loads(arguments[1])
    try:
        serve = _load(config, channel)
    except Exception as error:  # noqa: BLE001 - the process's boundary; the service gets the cause
        _LOGGER.exception("speakers_start_failed")
        code, fix = getattr(error, "code", "diarization_failed"), getattr(error, "fix", "")
        channel.send({"type": "start_failed", "code": code, "message": str(error), "fix": fix})
        end_process(1)
    while True:
        serve(channel.receive())


def _load(config: Message, channel: DiarizerSocket) -> Callable[[Message], None]:
    """What serves a request, on loaded and proven models; the service learns that it is ready."""
    # Imported here: after the guards, and so that a broken library is a start_failed.
    from .models import load_models
    from .requests import answer
    from .selftest import prove

    begun = time.monotonic()
    models = load_models(Path(config["weights"]), config["device"], int(config["threads"]))
    prove(models)
    channel.send(
        {
            "type": "ready",
            "pid": os.getpid(),
            "device": config["device"],
            "provider": models.provider,
            "load_seconds": time.monotonic() - begun,
        }
    )
    return lambda message: channel.send(_answered(lambda tell: answer(models, message, tell), channel))


def _answered(work: Callable[[Callable[[float], None]], Message], channel: DiarizerSocket) -> Message:
    told = 0.0

    def tell(part: float) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            channel.send({"type": "progress", "part": part})

    try:
        return work(tell)
    except Exception as error:  # noqa: BLE001 - the job's boundary; the child lives on
        _LOGGER.exception("diarization_failed")
        return {"type": "error", "code": "diarization_failed", "message": repr(error)}


def _watch(sock: socket.socket) -> None:
    """Thread: end the process when the service has closed its end, whatever the models do."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    poll.poll()
    end_process(0)


def end_process(status: int) -> NoReturn:
    """End now, without a clean-up that may hang."""
    logging.shutdown()
    os._exit(status)


def _guard_process() -> None:
    """Signals and log of a child that only its service ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    # NumPy's own threads would take the cores from the models; read when numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


if __name__ == "__main__":
    main(sys.argv[1:])
