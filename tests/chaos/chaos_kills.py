"""Jobs under a hail of SIGKILL: clients send files while processes of every role die at random moments."""

from __future__ import annotations

import concurrent.futures
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_audio import Audio
from chaos_client import Order, submit, wait_for_deliveries, wait_for_end
from chaos_server import SupervisedServer, settings
from chaos_tally import Tally, count
from chaos_tree import Role, kill
from webhook_receiver import Receiver, receiving

#: Out of twenty kills; media children live for moments, so their share is what can be caught.
SHARES = {Role.MASTER: 3, Role.WORKER: 5, Role.ENGINE: 5, Role.DECODE_SERVER: 3, Role.MEDIA_CHILD: 4}

#: How long to lie in wait for a victim of a role before another role takes its place.
WAIT_SECONDS = 4.0

_CLIENTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How many jobs and kills, and the seconds between two of these: up to so many."""

    jobs: int
    kills: int
    seed: int
    most_pause: float = 2.5


@dataclass
class Killer:
    """Kills one process after another, by the plan's random numbers."""

    server: SupervisedServer
    plan: Plan
    kills: Counter[str] = field(default_factory=Counter)
    #: Told to the clients, so that there is work all the time.
    begun: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        rng = random.Random(self.plan.seed)
        victims = [role for role, share in SHARES.items() for _ in range(share)]
        order: list[Role] = []
        while self.kills.total() < self.plan.kills:
            if not order:
                order = rng.sample(victims, len(victims))
            self._tell(self.kills.total() + 1)
            time.sleep(rng.uniform(0, self.plan.most_pause))
            if self._kill_one(order[-1], rng):
                order.pop()
            else:
                rng.shuffle(order)
        self._tell(self.plan.kills + 1)

    def wait_for(self, kills: int) -> None:
        """Return when so many kills have begun."""
        with self.changed:
            self.changed.wait_for(lambda: self.begun >= min(kills, self.plan.kills))

    def _tell(self, begun: int) -> None:
        with self.changed:
            self.begun = begun
            self.changed.notify_all()

    def _kill_one(self, role: Role, rng: random.Random) -> bool:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            pids = self.server.pids(role)
            if pids and kill(self.server.pid, rng.choice(pids)):
                self.kills[role.value] += 1
                return True
            time.sleep(0.01)
        return False


def make_orders(plan: Plan, files: Sequence[Audio], url: str) -> list[Order]:
    """The plan's jobs over these files in turn; the receiver is told of each."""
    return [
        Order(f"kills-{plan.seed}-{n}", files[n % len(files)], {"webhook_url": f"{url}&job={n}"})
        for n in range(plan.jobs)
    ]


def run_untouched(
    data_dir: Path, env: Mapping[str, str], files: Sequence[Audio], **fields: str
) -> dict[str, dict[str, Any]]:
    """What these files come to when nobody disturbs the service, by name."""
    ended = {}
    with SupervisedServer(data_dir, env) as server:
        server.wait_ready()
        for audio in dict.fromkeys(files):
            order = Order(f"untouched-{audio.name}", audio, fields)
            submit(server, order)
            ended[audio.name] = wait_for_end(server, str(order.job_id))
    return ended


def run_kills(
    plan: Plan,
    files: Sequence[Audio],
    models: Path,
    folder: Path,
    *,
    timeout: float = 1800.0,
    say: Callable[[str], None] = print,
) -> Tally:
    """The whole run: untouched first, then under fire, then judged."""
    env = settings(models)
    say(f"{len(files)} files, {sum(each.seconds for each in files):.0f} s of audio; the untouched run")
    untouched = run_untouched(folder / "untouched", env, files)
    say("under fire")
    with receiving() as receiver:
        orders, ended, killer = _under_fire(plan, files, folder / "fire", env, receiver, timeout)
        counts = count(orders, ended, untouched, folder / "fire", list(receiver.received))
    counts.kills = killer.kills
    say(
        f"restarts of the master: {killer.server.restarts}, starts that failed: {len(killer.server.failed_starts)}"
    )
    if killer.server.orphans:
        counts.lost.append(f"processes that outlived their master: {killer.server.orphans}")
    return counts


def _under_fire(
    plan: Plan,
    files: Sequence[Audio],
    data_dir: Path,
    env: Mapping[str, str],
    receiver: Receiver,
    timeout: float,
) -> tuple[list[Order], dict[str, dict[str, Any]], Killer]:
    orders = make_orders(plan, files, receiver.url)
    deadline = time.monotonic() + timeout
    with SupervisedServer(data_dir, env) as server:
        server.wait_ready()
        killer = Killer(server, plan)

        def send(number: int) -> None:
            # The jobs are spread over the kills, a few ahead of them.
            killer.wait_for((number - _CLIENTS) * plan.kills // plan.jobs)
            submit(server, orders[number], timeout=deadline - time.monotonic())

        with concurrent.futures.ThreadPoolExecutor(_CLIENTS + 1) as pool:
            killing = pool.submit(killer.run)
            sending = [pool.submit(send, number) for number in range(plan.jobs)]
            for future in (*sending, killing):
                future.result()
        ended = _wait_for_all(server, orders, deadline)
    return orders, ended, killer


def _wait_for_all(
    server: SupervisedServer, orders: Sequence[Order], deadline: float
) -> dict[str, dict[str, Any]]:
    """Every job as it ended; one that does not end is shown as it stands."""
    ended = {}
    for job_id in [str(order.job_id) for order in orders]:
        try:
            ended[job_id] = wait_for_end(server, job_id, timeout=max(1.0, deadline - time.monotonic()))
            wait_for_deliveries(server, job_id)
        except TimeoutError as error:
            ended.setdefault(job_id, {"status": "unfinished", "error": str(error)[:2000]})
    return ended
