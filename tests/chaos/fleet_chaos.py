"""A fleet whose nodes and database are killed and frozen at random while jobs run, and what is counted of it.

The counting is PostgreSQL's: triggers write down every end of a job and every window that a worker put into the store, so
that nothing rests on what a killed process would have said of itself.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fleet_nodes import FleetNodes, WorkerProcess
from postgres_server import PostgresServer
from server import Server
from transcriber.system.backoff import Backoff
from webhook_receiver import receiving

#: A worker that is silent for longer than 15 s has lost its jobs: frozen for less and for more than that.
FREEZE_SECONDS = (4.0, 20.0)

#: Between two disturbances, in seconds.
PAUSE_SECONDS = (1.0, 4.0)

RETRIES = Backoff(0.2, 2.0)

_AUDIT = """
    CREATE TABLE audit_ends (job_id text, status text, attempt int);
    CREATE FUNCTION audit_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO audit_ends VALUES (NEW.id, NEW.status, NEW.attempts); RETURN NEW; END $$;
    CREATE TRIGGER audit_end AFTER UPDATE OF status ON jobs FOR EACH ROW
        WHEN (NEW.completed_at IS NOT NULL AND OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION audit_end();
    CREATE TABLE audit_windows (job_id text, attempt int, window_index int);
    CREATE FUNCTION audit_window() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.line::jsonb ->> 'kind' = 'window' THEN
            INSERT INTO audit_windows VALUES (NEW.job_id, NEW.attempt, (NEW.line::jsonb ->> 'index')::int);
        END IF; RETURN NEW; END $$;
    CREATE TRIGGER audit_window AFTER INSERT ON journal_lines FOR EACH ROW EXECUTE FUNCTION audit_window();
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do. seconds: how long the jobs may take in all."""

    jobs: int
    seed: int
    webs: int = 2
    workers: int = 3
    disturbances: int = 12
    seconds: float = 900.0


@dataclass(kw_only=True)
class Tally:
    """What was counted."""

    jobs: int
    done: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    ended_twice: int = 0
    attempts: int = 0
    windows: int = 0
    windows_again: int = 0
    texts: int = 0
    webhooks: int = 0
    webhooks_missing: int = 0
    webhooks_twice: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> list[str]:
        counted = {
            "lost": self.lost,
            "ended twice": self.ended_twice,
            "windows of the store done again": self.windows_again,
            "texts that differ": self.texts - 1,
            "jobs without their webhook": self.webhooks_missing,
            "jobs told under two webhook ids": self.webhooks_twice,
            "not succeeded": self.jobs - self.statuses["succeeded"],
        }
        return [f"{count} {what}" for what, count in counted.items() if count]

    def report(self) -> str:
        done = ", ".join(f"{count} x {what}" for what, count in sorted(self.done.items()))
        return (
            f"disturbances: {done}\n"
            f"jobs: {self.jobs}, {dict(self.statuses)}, {self.attempts} attempts; {self.lost} lost, "
            f"{self.ended_twice} ended twice, {self.texts} different texts\n"
            f"windows in the store: {self.windows}, {self.windows_again} of them done again\n"
            f"webhooks: {self.webhooks} received, {self.webhooks_missing} jobs without, "
            f"{self.webhooks_twice} jobs under two ids"
        )


class Chaos:
    """Disturbs the nodes of a fleet, one thing after the other."""

    def __init__(self, plan: Plan, fleet: FleetNodes, postgres: PostgresServer) -> None:
        self._plan = plan
        self._fleet = fleet
        self._postgres = postgres
        self._random = random.Random(plan.seed)
        self.done: Counter[str] = Counter()
        self._actions: list[Callable[[], None]] = [
            self._kill_worker,
            self._kill_worker,
            self._freeze_worker,
            self._kill_web,
            self._stop_database,
        ]

    def run(self, is_over: Callable[[], bool]) -> None:
        """Each kind comes once before any comes again, in an order from the seed."""
        turn: list[Callable[[], None]] = []
        for _ in range(self._plan.disturbances):
            if is_over():
                return
            if not turn:
                turn = self._random.sample(self._actions, len(self._actions))
            turn.pop()()
            time.sleep(self._random.uniform(*PAUSE_SECONDS))  # the time that the fleet has to go on

    def _worker(self) -> WorkerProcess:
        return self._random.choice([each for each in self._fleet.workers if each.process.poll() is None])

    def _kill_worker(self) -> None:
        self.done["worker killed"] += 1
        self._worker().kill()
        self._fleet.worker()

    def _freeze_worker(self) -> None:
        worker, seconds = self._worker(), self._random.choice(FREEZE_SECONDS)
        self.done[f"worker frozen for {seconds:.0f} s"] += 1
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)  # as long as it is frozen
        worker.process.send_signal(signal.SIGCONT)

    def _kill_web(self) -> None:
        self.done["web node killed"] += 1
        server = self._random.choice(self._fleet.webs)
        for pid in (*server.children(), server.pid):
            _kill(pid)
        server.process.wait()
        server.log.close()
        server.start()

    def _stop_database(self) -> None:
        self.done["database stopped at once"] += 1
        self._postgres.stop(signal.SIGQUIT)
        time.sleep(self._random.uniform(0.5, 3.0))  # as long as it is away
        self._postgres.start()


def _kill(pid: int) -> None:
    import os
    from contextlib import suppress

    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def run_chaos(plan: Plan, audio: Path, folder: Path, **env: str) -> Tally:
    """Run it; what was counted."""
    postgres = PostgresServer()
    url = postgres.new_database()
    fleet = FleetNodes(folder, url, WHISPER_WEBHOOK_ALLOW_CIDR="127.0.0.0/8", WHISPER_MAX_QUEUE="1000", **env)
    try:
        fleet.web(until="/health")
        postgres.execute(_AUDIT, url)
        for _ in range(plan.workers):
            fleet.worker()
        for _ in range(plan.webs - 1):
            fleet.web(until="/health")
        fleet.webs[0].wait_for("/health/ready", 120)
        with receiving() as receiver:
            chaos = Chaos(plan, fleet, postgres)
            over = threading.Event()
            thread = threading.Thread(target=chaos.run, args=(over.is_set,))
            ids = [submit(fleet.webs, number, audio, receiver.url, plan.seed) for number in range(2)]
            thread.start()
            ids += [
                submit(fleet.webs, number, audio, receiver.url, plan.seed) for number in range(2, plan.jobs)
            ]
            thread.join()
            jobs = [wait_for_end(fleet.webs, job_id, plan.seconds) for job_id in ids]
            _wait(lambda: len({_job_of(each.body) for each in receiver.received}) >= plan.jobs, 60)
            over.set()
            told = [(_job_of(each.body), each.headers["webhook-id"]) for each in receiver.received]
            texts = {
                ask(fleet.webs, number, f"/jobs/{job_id}/transcript")["text"]
                for number, job_id in enumerate(ids)
            }
        tally = Tally(jobs=plan.jobs, done=chaos.done, texts=len(texts), webhooks=len(told))
        _count(tally, postgres, url, ids, told)
        tally.statuses.update(job["status"] for job in jobs)
        tally.attempts = sum(job["attempts"] for job in jobs)
        return tally
    finally:
        fleet.close()
        postgres.close()


def _count(
    tally: Tally, postgres: PostgresServer, url: str, ids: list[str], told: list[tuple[str, str]]
) -> None:
    ends = postgres.execute("SELECT job_id, count(*) FROM audit_ends GROUP BY job_id", url)
    ended = {str(job_id): int(str(count)) for job_id, count in ends}
    tally.lost = len(set(ids) - ended.keys())
    tally.ended_twice = sum(count > 1 for count in ended.values())
    ((windows, distinct),) = postgres.execute(
        "SELECT count(*), count(DISTINCT (job_id, window_index)) FROM audit_windows", url
    )
    tally.windows = int(str(windows))
    tally.windows_again = tally.windows - int(str(distinct))
    by_job: dict[str, set[str]] = {}
    for job_id, webhook_id in told:
        by_job.setdefault(job_id, set()).add(webhook_id)
    tally.webhooks_missing = len(set(ids) - by_job.keys())
    tally.webhooks_twice = sum(len(found) > 1 for found in by_job.values())


def submit(webs: list[Server], number: int, audio: Path, webhook: str, seed: int) -> str:
    """Send a file until a node has taken it; the key makes it one job, whichever node heard of it before."""
    from server import multipart

    body, kind = multipart(audio.read_bytes(), "speech.wav", {"webhook_url": webhook})
    headers = {"Content-Type": kind, "Idempotency-Key": f"chaos-{seed}-{number}"}
    for tries in range(1, 200):
        try:
            server = webs[(number + tries) % len(webs)]
            answer = server.request("POST", "/jobs", body=body, headers=headers, timeout=30)
            if answer.status in (200, 202):
                return str(answer.json["job_id"])
            if answer.status < 429:
                raise RuntimeError(f"POST /jobs answered {answer.status}: {answer.text[:300]}")
        except OSError:
            pass
        time.sleep(RETRIES.after(tries))  # between two tries, as a client does
    raise TimeoutError("no node takes the job")


def ask(webs: list[Server], number: int, path: str) -> dict[str, object]:
    """GET this from whichever node answers."""
    for tries in range(1, 200):
        try:
            answer = webs[(number + tries) % len(webs)].get(path, timeout=30)
            if answer.status == 200:
                return dict(answer.json)
            if answer.status == 404:
                raise RuntimeError(f"GET {path} answered 404")
        except OSError:
            pass
        time.sleep(RETRIES.after(tries))  # between two tries
    raise TimeoutError(path)


def wait_for_end(webs: list[Server], job_id: str, seconds: float) -> dict[str, object]:
    found: dict[str, object] = {}

    def has_ended() -> bool:
        found.update(ask(webs, 0, f"/jobs/{job_id}"))
        return found["completed_at"] is not None

    _wait(has_ended, seconds)
    return found


def _job_of(body: bytes) -> str:
    return str(json.loads(body)["data"]["job_id"])


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)  # polling
