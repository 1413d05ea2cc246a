"""Web nodes and workers over a real PostgreSQL: jobs outlive any of them, and every node sees all."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_nodes import STANDIN, FleetNodes
from job_watch import get_job, stream, submit, wait_until
from postgres_server import PostgresServer, find_programs
from server import Server

#: Windows of the stand-in engine's jobs, and the seconds that each takes.
WINDOWS, PACE = 12, 0.5

pytestmark = pytest.mark.skipif(
    find_programs() is None, reason="no PostgreSQL here: run scripts/tools --install"
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def fleet(postgres: PostgresServer, tmp_path: Path, models: Path) -> Iterator[FleetNodes]:
    command = f"{STANDIN} --windows {WINDOWS} --pace {PACE}"
    nodes = FleetNodes(
        tmp_path, postgres.new_database(), WHISPER_ENGINE_COMMAND=command, WHISPER_MODEL_PATH=str(models)
    )
    yield nodes
    nodes.close()


def status_of(server: Server, job_id: str) -> str:
    return str(get_job(server, job_id)["status"])


def wait_for(server: Server, job_id: str, status: str, seconds: float = 90) -> None:
    wait_until(lambda: status_of(server, job_id) == status, f"{job_id} is {status}", seconds)


def windows_done(server: Server, job_id: str) -> int:
    progress = get_job(server, job_id)["progress"]
    return int(progress["windows_done"]) if progress else 0


def test_job_of_a_killed_worker_goes_on_at_another_one(fleet: FleetNodes, speech: Path) -> None:
    fleet.worker()
    web = fleet.web()
    job_id = submit(web, speech)["job_id"]
    wait_until(lambda: windows_done(web, job_id) >= 3, "windows are done", 60)
    fleet.worker()
    wait_until(lambda: len(web.get("/health/ready").json["workers"]) == 2, "the second worker is there", 60)

    fleet.workers[0].kill()
    killed = time.monotonic()
    wait_until(lambda: f'"{job_id}"' in fleet.workers[1].log(), "the other one takes it", 60)
    seconds = time.monotonic() - killed

    wait_for(web, job_id, "succeeded")
    answer = web.get(f"/jobs/{job_id}/transcript").json
    assert [segment["id"] for segment in answer["segments"]] == list(range(WINDOWS))
    assert get_job(web, job_id)["attempts"] == 2
    begun = [line for line in fleet.workers[1].log().splitlines() if "job_succeeded" in line]
    assert len(begun) == 1
    print(f"taken up after {seconds:.1f} s")
    assert seconds < 60


def test_cancel_and_stream_at_another_web_node(fleet: FleetNodes, speech: Path) -> None:
    fleet.worker()
    first, second = fleet.web(), fleet.web()
    cancelled, followed = (submit(first, speech)["job_id"] for _ in range(2))
    wait_for(second, cancelled, "running")

    assert second.request("DELETE", f"/jobs/{cancelled}").status == 200
    asked = time.monotonic()
    wait_until(lambda: '"lost"' in fleet.workers[0].log(), "the worker lets go", 30)
    print(f"stopped after {time.monotonic() - asked:.1f} s")
    wait_for(first, followed, "running")
    with stream(second, followed) as told:
        events = [event for event in told if event is not None]

    numbers = [event.number for event in events if event.kind == "segment"]
    assert numbers == list(range(1, WINDOWS + 1))
    assert events[-1].kind == "done" and status_of(first, cancelled) == "cancelled"
    assert list(fleet.shared.glob(f"spool/{cancelled}")) == []


def test_waiting_client_gets_its_answer_over_a_restart_of_the_database(
    fleet: FleetNodes, speech: Path, postgres: PostgresServer
) -> None:
    fleet.worker()
    web = fleet.web()
    job_id = submit(web, speech)["job_id"]
    wait_until(lambda: windows_done(web, job_id) >= 2, "windows are done", 60)

    postgres.stop(signal.SIGQUIT)
    postgres.start()

    wait_until(lambda: web.get("/health").status == 200, "answers", 30)
    wait_for(web, job_id, "succeeded")
    answer = web.transcribe(speech)
    assert answer.status == 200 and len(answer.json["segments"]) == WINDOWS


def test_worker_that_stops_hands_its_job_back(fleet: FleetNodes, speech: Path) -> None:
    fleet.worker()
    web = fleet.web()
    job_id = submit(web, speech)["job_id"]
    wait_for(web, job_id, "running")

    assert fleet.workers[0].stop() == 0
    assert status_of(web, job_id) == "queued"
    wait_until(lambda: web.get("/health/ready").status == 503, "no worker is left", 30)
    assert web.get("/health/ready").json["error"]["code"] == "no_worker"
    fleet.worker()
    wait_for(web, job_id, "succeeded")
