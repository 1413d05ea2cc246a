"""Sends hostile files to a real server, several at once, while it watches the tree's memory and health."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hostile_media import HostileFile
from server import Server, tree_memory_bytes

CLIENTS = 4


@dataclass
class Outcome:
    """How the files ended over HTTP, and what the tree took meanwhile."""

    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    base_bytes: int = 0
    peak_bytes: int = 0
    slowest_health_seconds: float = 0.0


def send_all(server: Server, files: Sequence[HostileFile], speech: Path) -> Outcome:
    """POST each file to /transcribe; each has to end in 200 or a 4xx with a code.

    base_bytes is what as many honest files at once take: an engine at rest holds between 460 and 660 MB, as its huge pages
    happen to fall, and at work the same as with honest files.
    """
    outcome = Outcome(base_bytes=_peak_of_honest_work(server, speech))
    before = server.children()
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(server, outcome, done), daemon=True)
    watcher.start()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for file, (status, code) in zip(files, pool.map(lambda f: _send(server, f), files), strict=True):
            outcome.codes[f"{file.kind}: {status} {code}"] += 1
            if status != 200 and not (400 <= status < 500 and code):
                outcome.faults.append(f"{file.name}: {status} {code}")
            if file.kind == "reference" and "quicktime" not in file.name and status == 200:
                outcome.faults.append(f"{file.name} was transcribed")
    done.set()
    watcher.join()
    lost = [command for pid, command in before.items() if pid not in server.children()]
    outcome.faults += [f"a process was lost: {command}" for command in lost]
    return outcome


def _peak_of_honest_work(server: Server, speech: Path) -> int:
    honest = Outcome()
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(server, honest, done), daemon=True)
    watcher.start()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(server.transcribe, [speech] * 2 * CLIENTS))
    done.set()
    watcher.join()
    assert {answer.status for answer in answers} == {200}
    return honest.peak_bytes


def _send(server: Server, file: HostileFile) -> tuple[int, str]:
    answer = server.transcribe(file.path, name=file.name, beam_size="1", language="en")
    return answer.status, "" if answer.status == 200 else answer.json["error"]["code"]


def _watch(server: Server, outcome: Outcome, done: threading.Event) -> None:
    while not done.wait(0.05):
        outcome.peak_bytes = max(outcome.peak_bytes, tree_memory_bytes(server.pid))
        begun = time.perf_counter()
        if server.get("/health").status != 200:
            outcome.faults.append("/health did not answer 200")
        outcome.slowest_health_seconds = max(outcome.slowest_health_seconds, time.perf_counter() - begun)
