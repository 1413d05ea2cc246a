"""Requests of several clients at once, and what came of them."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from ..gate.measurement import percentile
from .client import Reply

#: How often the GPU's utilisation is read, in seconds.
LOOK_SECONDS = 0.5


class Server(Protocol):
    """What is measured; Client is the one over HTTP."""

    def transcribe(self, url: str, audio: bytes, fields: Mapping[str, str]) -> Reply: ...

    def utilization(self, url: str) -> list[float]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A server, with the form fields of its requests."""

    name: str
    url: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One subject under one number of clients. Seconds are those of answers with a transcript."""

    name: str
    clients: int
    requests: int
    failed: int
    p50: float
    p95: float
    p99: float
    #: Standard deviation of the seconds.
    jitter: float
    #: Seconds of audio transcribed in a second.
    throughput: float
    #: Mean of the server's GPUs, 0 to 1; None where nothing can be read.
    utilization: float | None
    #: Every device and compute type that did the work.
    devices: tuple[str, ...] = ()
    #: Mean seconds by stage, as the server says.
    stages: Mapping[str, float] = field(default_factory=dict)
    #: The most frequent error of the failed requests.
    error: str = ""

    @property
    def reliability(self) -> float:
        return 1 - self.failed / self.requests


def measure(
    server: Server, subject: Subject, clips: Sequence[bytes], *, clients: int, requests: int
) -> Level:
    """Send the clips in turn."""
    looks: list[float] = []
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(server, subject.url, looks, over), daemon=True)
    watcher.start()
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        replies = list(
            pool.map(
                lambda number: server.transcribe(subject.url, clips[number % len(clips)], subject.fields),
                range(requests),
            )
        )
    seconds = time.perf_counter() - begun
    over.set()
    watcher.join()
    return _level(subject.name, clients, replies, seconds, looks)


def measure_together(
    server: Server, subjects: Sequence[Subject], clips: Sequence[bytes], clients: int, requests: int
) -> tuple[list[Level], list[Level]]:
    """The first subject alone, and all of them at once."""
    for subject in subjects:
        measure(server, subject, clips, clients=1, requests=1)
    alone = measure(server, subjects[0], clips, clients=clients, requests=requests)
    with ThreadPoolExecutor(len(subjects)) as pool:
        together = list(
            pool.map(
                lambda subject: measure(server, subject, clips, clients=clients, requests=requests), subjects
            )
        )
    return [alone], together


def _level(
    name: str, clients: int, replies: Sequence[Reply], seconds: float, looks: Sequence[float]
) -> Level:
    good = [reply for reply in replies if not reply.error]
    times = [reply.seconds for reply in good]
    errors = Counter(reply.error for reply in replies if reply.error)
    return Level(
        name=name,
        clients=clients,
        requests=len(replies),
        failed=len(replies) - len(good),
        p50=percentile(times, 50),
        p95=percentile(times, 95),
        p99=percentile(times, 99),
        jitter=statistics.pstdev(times) if times else 0.0,
        throughput=sum(reply.duration for reply in good) / seconds if seconds else 0.0,
        utilization=statistics.fmean(looks) if looks else None,
        devices=tuple(sorted({f"{reply.device} {reply.compute_type}" for reply in good})),
        stages=_means(reply.timings for reply in good),
        error=errors.most_common(1)[0][0] if errors else "",
    )


def _means(timings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    rows = list(timings)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: statistics.fmean(row.get(name, 0.0) for row in rows) for name in names}


def _watch(server: Server, url: str, looks: list[float], over: threading.Event) -> None:
    """Thread: the GPU's utilisation until the load is over."""
    while not over.wait(LOOK_SECONDS):
        looks.extend(server.utilization(url))
