"""Tickets: each says that there is work, and no more; which job it is, the jobs table chooses at the claim."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import procrastinate
import structlog
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Status

logger = structlog.get_logger(__name__)

#: The one task in the queues.
TASK = "work-on-a-job"

#: How often a worker asks although nobody told it of a ticket, says that it lives, and is taken for dead, in seconds.
POLL_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
STALLED_SECONDS = 20.0

#: How long a worker waits before it tries a database again that was away, at first and at last, in seconds.
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0

#: Seconds between two checks whether it is to stop.
STOP_POLL_SECONDS = 0.2


def queue_of(*, is_short: bool, needs_gpu: bool) -> str:
    """The queue of such jobs' tickets: short or long, gpu or any."""
    return f"{'short' if is_short else 'long'}-{'gpu' if needs_gpu else 'any'}"


QUEUES = tuple(
    queue_of(is_short=is_short, needs_gpu=needs_gpu)
    for is_short in (True, False)
    for needs_gpu in (True, False)
)


class Tickets:
    """Writes tickets. Safe to call from any thread or greenlet."""

    def __init__(self, url: str) -> None:
        self._app = procrastinate.App(
            connector=procrastinate.SyncPsycopgConnector(conninfo=url, min_size=0, max_size=4, timeout=10.0)
        )
        self._lock = threading.Lock()
        self._is_open = False

    def write(self, queue: str, count: int = 1, *, delay: float = 0.0) -> None:
        """Write tickets, to be used after `delay` seconds. One that can't be written now is written by a worker later."""
        if count < 1:
            return
        try:
            schedule = {"seconds": max(1, round(delay))} if delay > 0 else None
            task = self._opened().configure_task(TASK, queue=queue, schedule_in=schedule, allow_unknown=True)
            task.batch_defer(*({} for _ in range(count)))
        except ProcrastinateException as error:
            logger.warning("ticket_not_written", count=count, error=str(error))

    def waiting(self) -> dict[str, int]:
        """Tickets that nobody has used yet, by queue."""
        return {row["name"]: int(row["todo"]) for row in self._opened().job_manager.list_queues()}

    def close(self) -> None:
        """A second call does nothing."""
        with self._lock:
            is_open, self._is_open = self._is_open, False
        if is_open:
            self._app.close()

    def _opened(self) -> procrastinate.App:
        with self._lock:
            if not self._is_open:
                self._app.open()
                self._is_open = True
        return self._app


class TicketWorker:
    """Calls `work` for each ticket of these queues, up to `slots` at once, in threads of its own. It comes back from a lost database."""

    def __init__(
        self, url: str, name: str, slots: int, work: Callable[[], None], queues: Sequence[str] = QUEUES
    ) -> None:
        self._queues = list(queues)
        self._url = url
        self._name = name
        self._slots = slots
        self._work = work
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticket-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more tickets."""
        self._stopping.set()

    def join(self, timeout: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                asyncio.run(self._serve())
                wait = FIRST_WAIT_SECONDS
            except Exception as error:  # noqa: BLE001  a thread's boundary: whatever ends the loop, it begins again
                logger.warning("ticket_worker_failed", error=str(error))
            # Procrastinate's worker ends by itself, without an error, when it loses its database.
            if not self._stopping.wait(wait):
                logger.info("ticket_worker_begins_again", seconds=wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self._slots + 2, "ticket"))
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self._url, timeout=10.0))
        app.task(name=TASK)(self._work)
        async with app.open_async():
            worker = asyncio.create_task(
                app.run_worker_async(
                    queues=self._queues,
                    name=self._name,
                    concurrency=self._slots,
                    fetch_job_polling_interval=POLL_SECONDS,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=STALLED_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=5.0,
                )
            )
            sweeper = asyncio.create_task(_drop_stalled(app))
            while not self._stopping.is_set() and not worker.done():
                await asyncio.sleep(STOP_POLL_SECONDS)
            sweeper.cancel()
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker


async def _drop_stalled(app: procrastinate.App) -> None:
    """Tickets in the hands of workers that died say nothing any more: their jobs are found by their heartbeats."""
    while True:
        for ticket in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            with suppress(ProcrastinateException):
                await app.job_manager.finish_job(ticket, status=Status.FAILED, delete_job=True)
        await asyncio.sleep(STALLED_SECONDS)


def schema() -> str:
    """Procrastinate's own tables, in SQL."""
    from procrastinate.schema import SchemaManager

    return SchemaManager.get_schema()
