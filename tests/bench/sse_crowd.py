"""Many followers of one job at once: what each of them sees, and what they cost the server."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from job_watch import stream, submit_file, wait_for_job
from server import Server, descendants
from transcriber.cli.retries import InterruptedExchangeError

#: Settings under which a job waits while another one runs, so that everybody is there before it begins.
ONE_AT_A_TIME = {"WHISPER_MAX_RUNNING": "1", "WHISPER_SHORT_SLOTS": "0"}

#: GET /health beside the crowd may take so long in 99 of 100 cases, in seconds.
HEALTH_LIMIT_SECONDS = 1.0


@dataclass
class Follower:
    """One client: the segments that it saw, in the order of their coming, and its last event."""

    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    progress_events: int = 0
    last: str = ""
    failure: str = ""

    def follow(self, server: Server, job_id: str, connected: threading.Semaphore) -> None:
        try:
            with stream(server, job_id) as events:
                connected.release()
                for event in events:
                    if event is None:
                        continue
                    if event.kind == "segment":
                        self.numbers.append(event.data["id"])
                        self.texts.append(event.data["text"])
                    elif event.is_last:
                        self.last = event.kind
                    else:
                        self.progress_events += 1
        except (InterruptedExchangeError, OSError, http.client.HTTPException) as error:
            self.failure = repr(error)
            connected.release()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it. Memory is the web worker's own (PSS)."""

    clients: int
    reached_done: int
    saw_every_segment_once_in_order: int
    segments: int
    progress_events_per_client: float
    seconds: float
    memory_before_bytes: int
    memory_peak_bytes: int
    memory_growth_bytes: int
    memory_growth_bytes_per_client: int
    health_requests: int
    health_p50_seconds: float
    health_p99_seconds: float
    failures: list[str]

    @property
    def is_good(self) -> bool:
        return (
            self.reached_done == self.saw_every_segment_once_in_order == self.clients
            and self.segments > 0
            and self.health_p99_seconds <= HEALTH_LIMIT_SECONDS
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.is_good}


@dataclass
class Beside:
    """Samples of the server's memory and of GET /health while something else goes on."""

    latencies: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def sample(self, server: Server, worker: int, stopped: threading.Event) -> None:
        while not stopped.wait(0.05):
            begun = time.perf_counter()
            if server.get("/health", timeout=30).status == 200:
                self.latencies.append(time.perf_counter() - begun)
            self.memory.append(memory_of(worker))


def follow_in_a_crowd(server: Server, clients: int, first: Path, audio: Path) -> Report:
    """`audio` waits behind `first` until all are connected; then everybody follows it to its end.

    The server runs with ONE_AT_A_TIME.
    """
    worker = worker_of(server)
    submit_file(server, first)
    job_id = submit_file(server, audio)
    before = memory_of(worker)
    followers = [Follower() for _ in range(clients)]
    connected, stopped, beside = threading.Semaphore(0), threading.Event(), Beside()
    begun = time.monotonic()
    with ThreadPoolExecutor(clients + 1) as pool:
        sampling = pool.submit(beside.sample, server, worker, stopped)
        try:
            futures = [pool.submit(each.follow, server, job_id, connected) for each in followers]
            for _ in followers:
                connected.acquire()
            wait(futures)
        finally:
            stopped.set()
        sampling.result()
        for future in futures:
            future.result()
    segments = wait_for_job(server, job_id, lambda job: job["status"] == "succeeded", "done")["segments"]
    texts = [segment["text"] for segment in segments]
    latencies = sorted(beside.latencies)
    peak = max(beside.memory)
    return Report(
        clients=clients,
        reached_done=sum(each.last == "done" for each in followers),
        saw_every_segment_once_in_order=sum(
            each.numbers == list(range(len(segments))) and each.texts == texts for each in followers
        ),
        segments=len(segments),
        progress_events_per_client=round(statistics.mean(each.progress_events for each in followers), 1),
        seconds=round(time.monotonic() - begun, 1),
        memory_before_bytes=before,
        memory_peak_bytes=peak,
        memory_growth_bytes=peak - before,
        memory_growth_bytes_per_client=(peak - before) // clients,
        health_requests=len(latencies),
        health_p50_seconds=round(statistics.median(latencies), 4),
        health_p99_seconds=round(latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))], 4),
        failures=[each.failure for each in followers if each.failure][:5],
    )


def worker_of(server: Server) -> int:
    """The one gunicorn worker: the process that serves."""
    gunicorns = [pid for pid, command in descendants(server.pid).items() if "gunicorn" in command]
    if len(gunicorns) != 1:
        raise RuntimeError(f"one gunicorn worker was expected: {gunicorns}")
    return gunicorns[0]


def memory_of(pid: int) -> int:
    """Proportional set size of one process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
