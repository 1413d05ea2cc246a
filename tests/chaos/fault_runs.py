"""A service whose disk fails call by call: every order is refused or kept, and the service heals by itself."""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_audio import Audio
from chaos_client import BROKEN, Order, submit, try_once, wait_for_deliveries, wait_for_end
from chaos_kills import run_untouched
from chaos_server import SupervisedServer, settings
from chaos_tally import Tally, count
from chaos_tree import Role
from disk_faults import DATA, FOR_EVER, Disk, Fault, Kind, PreloadedDisk, StracedDisk
from webhook_receiver import receiving

#: What a submission may be answered while the disk fails.
REFUSALS = frozenset({503, 507})

#: How long a job may go on failing before its disk is well again.
FAULTY_SECONDS = 2.0

END_SECONDS = 90.0


@dataclass
class FaultRun:
    """One server, and what its clients met while its disk failed."""

    server: SupervisedServer
    audio: Audio
    url: str
    worker: int
    orders: list[Order] = field(default_factory=list)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: How the runs ended: the answer at once, and the job.
    outcomes: Counter[str] = field(default_factory=Counter)
    hit: int = 0
    faults: list[str] = field(default_factory=list)

    def order(self) -> Order:
        """One more order, told to the receiver."""
        number = len(self.orders)
        self.orders.append(Order(f"fault-{number}", self.audio, {"webhook_url": f"{self.url}&n={number}"}))
        return self.orders[-1]

    def meet(self, disk: Disk, fault: Fault) -> bool:
        """One order while the disk fails, and the same again when it is well; whether a call was hit."""
        order = self.order()
        disk.arm(fault)
        try:
            answer = try_once(self.server, order)
            if answer is None or answer.status not in REFUSALS | {202}:
                shown = "no answer" if answer is None else f"{answer.status} {answer.text[:300]}"
                self.faults.append(f"{fault}: {shown}")
            if order.is_acknowledged:
                self._let_fail(disk, order, fault)
            hits = disk.hits()
        finally:
            disk.disarm()
        first = "no answer" if answer is None else str(answer.status)
        healed = self._heal(order, fault)
        self.outcomes[f"{first}, then {healed}" if hits else "not hit"] += 1
        self.hit += bool(hits)
        return bool(hits)

    def _let_fail(self, disk: Disk, order: Order, fault: Fault) -> None:
        """Until the failing calls are over, or the job is, or it has failed for long enough."""
        deadline = time.monotonic() + FAULTY_SECONDS
        while disk.hits() < fault.times and time.monotonic() < deadline:
            try:
                answer = self.server.get(f"/jobs/{order.job_id}", timeout=30)
            except BROKEN:
                answer = None
            if answer is None or answer.status not in REFUSALS | {200}:
                shown = "no answer" if answer is None else f"{answer.status} {answer.text[:300]}"
                self.faults.append(f"{fault}: looking at the job: {shown}")
                return
            if answer.status == 200 and answer.json["status"] in ("succeeded", "failed"):
                return
            time.sleep(0.02)

    def _heal(self, order: Order, fault: Fault) -> str:
        """The disk is well: the order must come through, in the same process."""
        try:
            submit(self.server, order, timeout=END_SECONDS)
            job_id = str(order.job_id)
            job = wait_for_end(self.server, job_id, timeout=END_SECONDS)
            outcome = str(job["status"])
            if outcome == "failed":
                outcome = f"failed with {job['error']['code']}"
                job = self._retry(job_id)
            self.ended[job_id] = job
            wait_for_deliveries(self.server, job_id)
        except (TimeoutError, RuntimeError) as error:
            self.faults.append(f"{fault}: {str(error)[:1500]}")
            return "nothing"
        if self.server.pids(Role.WORKER) != [self.worker]:
            self.faults.append(f"{fault}: the worker was replaced")
            self.worker = self.server.pids(Role.WORKER)[0]
        return outcome

    def _retry(self, job_id: str) -> dict[str, Any]:
        """A job that was handed back with an error is sent on its way again."""
        answer = self.server.request("POST", f"/jobs/{job_id}/retry", headers={"Accept": "application/json"})
        if answer.status not in (200, 202):
            raise RuntimeError(f"retry of {job_id}: {answer.status} {answer.text[:300]}")
        return wait_for_end(self.server, job_id, timeout=END_SECONDS)


@contextmanager
def failing_service(
    audio: Audio, models: Path, folder: Path, *, standin: bool
) -> Iterator[tuple[FaultRun, PreloadedDisk, Callable[[], Tally]]]:
    """A service on a disk that can fail, and what judges it once it is stopped."""
    env = settings(models, standin=standin)
    untouched = run_untouched(folder / "untouched", env, [audio])
    data_dir = folder / "faulty"
    disk = PreloadedDisk(folder, data_dir)
    with receiving() as receiver:
        server = SupervisedServer(data_dir, env | disk.env)
        with server:
            server.wait_ready()
            worker = server.pids(Role.WORKER)[0]
            run = FaultRun(server, audio, receiver.url, worker)
            yield (
                run,
                disk,
                lambda: count(run.orders, run.ended, untouched, data_dir, list(receiver.received)),
            )


def plan_of(to: int, *, kinds: Sequence[Kind] = (DATA,), step: int = 1) -> list[Fault]:
    """Every k-th call fails: once, eight times in a row, or from there on, in turn; with both errors."""
    times = (1, 8, FOR_EVER)
    return [
        Fault(kind, error, number, times[number % len(times)])
        for kind in kinds
        for error in (errno.ENOSPC, errno.EIO)
        for number in range(1, to + 1, step)
    ]


def run_faults(
    plan: Sequence[Fault],
    audio: Audio,
    models: Path,
    folder: Path,
    *,
    standin: bool,
    with_strace: bool = False,
    say: Callable[[str], None] = print,
) -> tuple[Tally, FaultRun]:
    """Meet every fault of the plan on one server; none beyond a job's last call, where a kind has fewer."""
    with failing_service(audio, models, folder, standin=standin) as (run, preloaded, judge):
        disk: Disk = StracedDisk(folder, run.worker) if with_strace else preloaded
        beyond: set[tuple[Kind, int]] = set()
        for fault in plan:
            if (fault.kinds, fault.error) in beyond:
                continue
            begun = time.monotonic()
            if not run.meet(disk, fault):
                beyond.add((fault.kinds, fault.error))
                say(f"{fault}: a job makes no such call")
            elif fault.first % 10 == 0:
                say(f"{fault}: {time.monotonic() - begun:.1f} s; {dict(run.outcomes)}")
            if run.faults and run.faults[-1].endswith("replaced") and with_strace:
                disk = StracedDisk(folder, run.worker)
        run.server.stop()
        return judge(), run
