"""The fleet's queue with many jobs waiting: how long a claim, a listing and a page take, on a PostgreSQL of its own.

.venv/bin/python tests/bench/fleet_queue.py [--jobs 10000] [--claims 300]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "flask-app"), str(ROOT / "tests" / "support")]

from job_stores import make_job  # noqa: E402
from postgres_server import PostgresServer  # noqa: E402
from transcriber.domain.jobs import JobStatus  # noqa: E402
from transcriber.jobs.store.postgres.database import Hold  # noqa: E402
from transcriber.jobs.store.postgres.store import PostgresJobStore  # noqa: E402

OWNERS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--claims", type=int, default=300)
    asked = parser.parse_args()
    server = PostgresServer()
    try:
        measure(server, asked.jobs, asked.claims)
    finally:
        server.close()
    return 0


def measure(server: PostgresServer, count: int, claims: int) -> None:
    """Fill the queue, then print what each kind of call took."""
    url = server.new_database()
    store = PostgresJobStore(url, hold=Hold.SHARED)
    try:
        began = time.monotonic()
        for number in range(count):
            store.add(make_job(number).evolve(owner=f"key-{number % OWNERS}", priority=number % 3))
        print(f"{count} jobs added in {time.monotonic() - began:.1f} s")
        server.execute("ANALYZE", url)
        show("claim", claims, lambda: store.fleet.claim_next("bench", has_gpu=True))
        show("listing, all that wait (web nodes' order)", 20, lambda: list_waiting(store, count))
        show("page of 50", 100, lambda: store.page(limit=50))
        show("counts", 100, store.counts)
        show("ready", 100, store.fleet.ready)
        show("tidy", 20, store.fleet.tidy)
    finally:
        store.close()


def list_waiting(store: PostgresJobStore, count: int) -> object:
    return store.list_jobs(statuses=(JobStatus.QUEUED,), limit=count)


def show(name: str, times: int, call: Callable[[], object]) -> None:
    """Call it so often; the median and the worst of a hundred, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"{name}: median {took[len(took) // 2]:.1f} ms, p99 {p99:.1f} ms, {times} times")


if __name__ == "__main__":
    raise SystemExit(main())
