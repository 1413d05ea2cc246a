"""The part of the composition root that makes a service a node of a fleet (WHISPER_ROLE=web or worker)."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..config.schema import Settings
from ..domain.errors import GpuRequiredError, TranscriberError
from ..domain.options import TranscriptionRequest
from ..domain.transcript import Receipt, Transcription
from ..fleet.files import AttemptResults, ScratchSpool, SharedSpool
from ..fleet.leader import LeaderOutbox
from ..fleet.node import FleetNode, WorkerIdentity, WorkerNode
from ..fleet.tickets import Tickets, schema
from ..jobs.files.spool import Spool
from ..jobs.queue import Slots
from ..jobs.store.lock import StoreLock
from ..jobs.store.postgres.database import Hold
from ..jobs.store.postgres.fleet import Lengths, WorkerRow
from ..jobs.store.postgres.store import PostgresJobStore
from ..system.durable_files import make_folder


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The parts of a node."""

    node: FleetNode
    store: PostgresJobStore
    tickets: Tickets
    spool: Spool
    results: AttemptResults
    outbox: LeaderOutbox
    #: Of a worker.
    worker_id: str | None = None

    def close(self) -> None:
        """Give the connections back."""
        self.tickets.close()
        self.store.close()


def join_fleet(settings: Settings, slots: Slots) -> Fleet:
    """Make this process a node. Raises ConfigError."""
    make_folder(settings.data_dir, "WHISPER_DATA_DIR")
    make_folder(settings.shared_dir, "WHISPER_BLOB_URL")
    folder = StoreLock(settings.data_dir)
    try:
        store = PostgresJobStore(settings.database_url, hold=Hold.SHARED, on_close=folder.release)
    except BaseException:
        folder.release()
        raise
    store.make_tickets(schema())
    tickets = Tickets(settings.database_url)
    shared = SharedSpool(settings.shared_dir / "spool", settings.disk_reserve_bytes, store.fleet.drop_lines)
    results = AttemptResults(settings.shared_dir / "results", lambda job_id: store.get(job_id).attempts)
    outbox = LeaderOutbox(store.outbox, store.leads)
    if settings.role == "web":
        node = FleetNode(store, tickets, slots, short_seconds=settings.short_seconds)
        return Fleet(node=node, store=store, tickets=tickets, spool=shared, results=results, outbox=outbox)
    worker_id = new_worker_id()
    worker = WorkerNode(
        store,
        tickets,
        slots,
        identity=WorkerIdentity(
            id=worker_id,
            url=settings.database_url,
            takes=Lengths(
                short_seconds=settings.short_seconds,
                takes_short="short" in settings.worker_queues,
                takes_long="long" in settings.worker_queues,
            ),
        ),
        shared=shared,
        results=results,
    )
    scratch = ScratchSpool(settings.data_dir / "spool", settings.disk_reserve_bytes)
    # What an earlier process left of jobs is of no use: they begin from the shared files.
    scratch.sweep(())
    return Fleet(
        node=worker,
        store=store,
        tickets=tickets,
        spool=scratch,
        results=results,
        outbox=outbox,
        worker_id=worker_id,
    )


def new_worker_id() -> str:
    """Of this process: the machine, and what no other process on it had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def worker_facts(described: Mapping[str, Any], queues: Sequence[str]) -> Mapping[str, Any]:
    """What a worker says of itself, with what it is."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": __version__,
        "queues": list(queues),
        **described,
    }


def decide_by_fleet(node: FleetNode) -> Callable[[TranscriptionRequest], None]:
    """Refuses what no worker can do now."""

    def decide(request: TranscriptionRequest) -> None:
        if request.require_gpu and not any(
            worker.facts.get("is_able") and worker.facts.get("is_gpu_proven") for worker in node.workers()
        ):
            raise GpuRequiredError(
                "The GPU was required, and no worker of the fleet has a proven one now.",
                fix="See workers[] in /diagnostics, start a worker with a GPU, or leave require_gpu out.",
                param="require_gpu",
            )

    return decide


def last_receipt_of_fleet(
    workers: Sequence[WorkerRow], find: Callable[[str], Transcription]
) -> tuple[str, Receipt] | None:
    """The receipt of the job that ended well last, at whichever worker; None where it is not known, or purged."""
    ended = [
        (worker.age + last["age_seconds"], last["id"])
        for worker in workers
        if (last := worker.facts.get("last_job"))
    ]
    if not ended:
        return None
    _, job_id = min(ended)
    try:
        return job_id, find(job_id).receipt
    except TranscriberError:
        return None
