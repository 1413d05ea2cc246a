"""python -m transcriber worker: works on the jobs of a fleet, and opens no port."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from typing import Any

from ..server import bootstrap


def add_parser(commands: Any) -> None:
    """The command and its options."""
    worker = commands.add_parser(
        "worker", help="work on the jobs of a fleet (WHISPER_DATABASE_URL); opens no port"
    )
    worker.add_argument("--device", choices=("auto", "cuda", "cpu"), help="as WHISPER_DEVICE")
    worker.add_argument("--queues", help="short, long or short,long: as WHISPER_WORKER_QUEUES")
    worker.set_defaults(command=_run)


def _run(parsed: argparse.Namespace) -> int:
    environ = {**os.environ, "WHISPER_ROLE": "worker"}
    if parsed.device:
        environ["WHISPER_DEVICE"] = parsed.device
    if parsed.queues:
        environ["WHISPER_WORKER_QUEUES"] = parsed.queues
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    application = bootstrap.build(environ)
    try:
        application.start()
        # A wait without an end would not be woken by a signal on every Python.
        while not stopping.wait(1.0):
            continue
    finally:
        application.close()
    return 0
