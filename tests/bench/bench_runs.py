"""The runs of scripts/bench: the service and what it is measured against, alternating, on the same sounds."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from bench_bare import BareServer
from bench_sounds import Sound, make_clips
from bench_watch import Usage, Watch
from job_watch import stream, submit
from server import Server, descendants, tree_memory_bytes
from speech_errors import Errors, count_errors

Json = dict[str, Any]

#: Takes a sound; gives its text back.
Answer = Callable[[Sound], str]

_HEALTH_INTERVAL = 0.1
#: The batch sizes that bare BatchedInferencePipeline is tried with.
BATCH_SIZES = (4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """One way through the long file. Seconds."""

    way: str
    seconds: float
    first_segment_seconds: float
    wer: float
    audio_seconds: float
    cpu_seconds: float
    peak_bytes: int
    gpu_percent: float | None
    timings: Json = field(default_factory=dict)

    @property
    def rtfx(self) -> float:
        return self.audio_seconds / self.seconds


@dataclass(frozen=True, kw_only=True)
class CrowdRun:
    """So many clients with clips, one way."""

    way: str
    clients: int
    seconds: float
    latencies: list[float]
    errors: Errors
    audio_seconds: float
    usage: Usage

    @property
    def throughput(self) -> float:
        """Seconds of audio in a second."""
        return self.audio_seconds / self.seconds

    def to_dict(self) -> Json:
        return {
            "way": self.way,
            "clients": self.clients,
            "clips": len(self.latencies),
            "seconds": round(self.seconds, 3),
            "rtfx": round(self.throughput, 2),
            "p50": round(percentile(self.latencies, 50), 3),
            "p95": round(percentile(self.latencies, 95), 3),
            "p99": round(percentile(self.latencies, 99), 3),
            "jitter": round(statistics.pstdev(self.latencies), 3),
            "wer": round(self.errors.rate, 4),
            **asdict(self.usage),
        }


def joined(runs: Sequence[CrowdRun]) -> CrowdRun:
    """Several runs of one way as one long run."""
    percents = [run.usage.gpu_percent for run in runs if run.usage.gpu_percent is not None]
    return CrowdRun(
        way=runs[0].way,
        clients=runs[0].clients,
        seconds=sum(run.seconds for run in runs),
        latencies=[latency for run in runs for latency in run.latencies],
        errors=sum((run.errors for run in runs), Errors()),
        audio_seconds=sum(run.audio_seconds for run in runs),
        usage=Usage(
            cpu_seconds=sum(run.usage.cpu_seconds for run in runs),
            peak_bytes=max(run.usage.peak_bytes for run in runs),
            gpu_percent=statistics.mean(percents) if percents else None,
        ),
    )


def percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that at least `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def best_batch_size(bare: BareServer, sound: Sound, sizes: Sequence[int] = BATCH_SIZES) -> tuple[int, Json]:
    """The batch size with which bare BatchedInferencePipeline is fastest, and the seconds of each."""
    seconds = {size: bare.transcribe(sound.wav, "batched", size)["seconds"] for size in sizes}
    return min(seconds, key=lambda size: seconds[size]), {
        str(key): round(value, 3) for key, value in seconds.items()
    }


def run_bare_long(bare: BareServer, sound: Sound, way: str, batch_size: int) -> LongRun:
    with Watch([bare.pid], gpu=True) as watch:
        answer = bare.transcribe(sound.wav, way, batch_size)
    return LongRun(
        way=way,
        seconds=answer["seconds"],
        first_segment_seconds=answer["first_segment_seconds"],
        wer=count_errors(sound.text, answer["text"]).rate,
        audio_seconds=sound.seconds,
        **asdict(watch.usage),
    )


def run_service_long(server: Server, sound: Sound, **fields: str) -> LongRun:
    """Over HTTP: from the first byte of the upload to the end of the job's events."""
    with Watch([server.pid], gpu=True) as watch:
        begun = time.perf_counter()
        job_id = submit(server, sound.wav, **fields)["job_id"]
        first = 0.0
        with stream(server, job_id) as events:
            for event in events:
                if event is not None and event.kind == "segment":
                    first = first or time.perf_counter() - begun
                if event is not None and event.is_last:
                    break
        seconds = time.perf_counter() - begun
    result = server.get(f"/jobs/{job_id}/transcript.json").json
    return LongRun(
        way="service",
        seconds=seconds,
        first_segment_seconds=first,
        wer=count_errors(sound.text, result["text"]).rate,
        audio_seconds=sound.seconds,
        timings={**result["timings"], "device": result["device"]},
        **asdict(watch.usage),
    )


def run_crowd(
    way: str, answer: Answer, pids: Sequence[int], clients: int, clips: Sequence[Sound]
) -> CrowdRun:
    """All clips, by so many clients that each send one after another."""

    def take(sound: Sound) -> tuple[float, str]:
        begun = time.perf_counter()
        text = answer(sound)
        return time.perf_counter() - begun, text

    with Watch(pids, gpu=True) as watch, ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        taken = list(pool.map(take, clips))
        seconds = time.perf_counter() - begun
    counted = [count_errors(sound.text, text) for sound, (_, text) in zip(clips, taken, strict=True)]
    return CrowdRun(
        way=way,
        clients=clients,
        seconds=seconds,
        latencies=[latency for latency, _ in taken],
        errors=sum(counted, Errors()),
        audio_seconds=sum(sound.seconds for sound in clips),
        usage=watch.usage,
    )


def ask_service(server: Server, **fields: str) -> Answer:
    def answer(sound: Sound) -> str:
        reply = server.transcribe(sound.wav, **fields)
        if reply.status != 200:
            raise RuntimeError(f"POST /transcribe answered {reply.status}: {reply.text[:300]}")
        return str(reply.json["text"])

    return answer


def ask_serial(bare: BareServer) -> Answer:
    return lambda sound: str(bare.transcribe(sound.wav)["text"])


def web_bytes(server: Server) -> int:
    """The largest of gunicorn's processes: the worker that serves."""
    sizes = [
        tree_memory_bytes(pid) - sum(tree_memory_bytes(child) for child in descendants(pid))
        for pid, command in server.children().items()
        if "gunicorn" in command
    ]
    return max(sizes, default=0)


@contextmanager
def health_probe(server: Server) -> Iterator[list[float]]:
    """Seconds that GET /health took, ten times a second while the block runs."""
    seconds: list[float] = []
    over = threading.Event()

    def probe() -> None:
        while not over.wait(_HEALTH_INTERVAL):
            begun = time.perf_counter()
            server.get("/health")
            seconds.append(time.perf_counter() - begun)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def run_consolidation(servers: Sequence[Server], clips_each: int, seed: int) -> list[CrowdRun]:
    """One service alone with one client, one with as many clients as services, and all services side by side."""
    first, count = servers[0], len(servers)
    runs = [
        run_crowd(
            "one service, one client", ask_service(first), [first.pid], 1, make_clips(clips_each, seed)
        ),
        run_crowd(
            f"one service, {count} clients",
            ask_service(first),
            [first.pid],
            count,
            make_clips(clips_each * count, seed + 1),
        ),
    ]
    waiting: list[Server] = list(servers)
    lock = threading.Lock()

    def any_service(sound: Sound) -> str:
        """Each client has a service of its own while it asks."""
        with lock:
            server = waiting.pop(0)
        try:
            return ask_service(server)(sound)
        finally:
            with lock:
                waiting.append(server)

    clips = make_clips(clips_each * count, seed + 2)
    runs.append(
        run_crowd(
            f"{count} services, one client each", any_service, [one.pid for one in servers], count, clips
        )
    )
    return runs
