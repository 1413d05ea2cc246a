"""The service's own output, where nobody can take it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from transcriber.server.log_stream import LogStream

ROOT = Path(__file__).resolve().parents[3]


def test_full_disk_and_dead_reader_lose_lines_and_nothing_else() -> None:
    full = LogStream(os.open("/dev/full", os.O_WRONLY))
    reader, writer = os.pipe()
    os.close(reader)
    orphaned = LogStream(writer)

    assert [full.write("a line\n"), orphaned.write("a line\n")] == [7, 7]

    assert (full.dropped, orphaned.dropped) == (1, 1)
    os.close(full.fileno())
    os.close(writer)


def test_reader_that_stops_reading_holds_nobody_up_and_gets_the_lines_after() -> None:
    reader, writer = os.pipe()
    now = [0.0]
    stream = LogStream(writer, lambda: now[0])

    began = time.monotonic()
    for _ in range(2000):
        stream.write("x" * 999 + "\n")

    # Once it has waited in vain it does not wait for each line.
    assert time.monotonic() - began < 5
    assert stream.dropped > 1900
    while len(os.read(reader, 1_000_000)) == 1_000_000:
        pass
    dropped = stream.dropped
    stream.write("there again\n")
    assert os.read(reader, 100) == b"there again\n"
    assert stream.dropped == dropped
    os.close(reader)
    os.close(writer)


def test_slow_reader_gets_every_line() -> None:
    reader, writer = os.pipe()
    stream = LogStream(writer)
    received = bytearray()

    def read() -> None:
        while data := os.read(reader, 10_000):
            received.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(3000):
        stream.write(f"{number:0200}\n")
    os.close(writer)
    thread.join(30)
    os.close(reader)

    assert stream.dropped == 0
    assert len(received) == 3000 * 201


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_are_not_given_to_the_next_file(closed: tuple[int, ...]) -> None:
    code = (
        "import os, sys\n"
        "from transcriber.server.log_stream import guard_standard_streams\n"
        "guard_standard_streams()\n"
        "opened = os.open('/dev/null', os.O_RDONLY)\n"
        "print('to nobody'); print('to nobody', file=sys.stderr)\n"
        "sys.exit(0 if opened > 2 else 9)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT / "flask-app")},
        preexec_fn=lambda: [os.close(fd) for fd in closed],
        timeout=30,
        check=False,
    )

    assert result.returncode == 0
