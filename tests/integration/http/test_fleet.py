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


def done_by(server: Server, job_id: str) -> set[str]:
    receipt = get_job(server, job_id)["receipt"]
    assert receipt["worker"] == "mixed"
    return {share["worker"] for share in receipt["engines"]}


def test_job_of_a_killed_worker_goes_on_at_another_one(fleet: FleetNodes, speech: Path) -> None:
    fleet.worker(), fleet.worker()
    web = fleet.web()
    wait_until(lambda: len(web.get("/health/ready").json["workers"]) == 2, "both workers are there", 60)
    job_id = submit(web, speech)["job_id"]
    wait_until(lambda: windows_done(web, job_id) >= 2, "windows are done", 60)

    first, second = sorted(fleet.workers, key=lambda worker: job_id not in worker.log())
    first.kill()
    killed = time.monotonic()
    wait_until(lambda: f'"{job_id}"' in second.log(), "the other one takes it", 60)
    seconds = time.monotonic() - killed

    wait_for(web, job_id, "succeeded")
    answer = web.get(f"/jobs/{job_id}/transcript").json
    assert [segment["id"] for segment in answer["segments"]] == list(range(WINDOWS))
    assert get_job(web, job_id)["attempts"] == 2
    ended = [line for line in second.log().splitlines() if "job_succeeded" in line]
    assert len(ended) == 1
    # Two workers did windows of it, and the receipt says so.
    assert answer["job_id"] == job_id and len(done_by(web, job_id)) == 2
    print(f"taken up after {seconds:.1f} s")


def test_web_node_says_where_the_work_runs(fleet: FleetNodes, speech: Path) -> None:
    """The promise: it holds no engine, names the workers that do, and every receipt has its worker."""
    fleet.worker()
    web = fleet.web()
    answer = web.transcribe(speech).json
    (worker,) = web.get("/health/ready").json["workers"]

    assert answer["receipt"]["worker"] == worker["id"]
    assert {share["worker"] for share in answer["receipt"]["engines"]} == {worker["id"]}
    wait_until(lambda: web.get("/health/ready").json["workers"][0]["last_job"], "it says so", 30)
    facts = web.get("/diagnostics").json
    assert facts["verdict"] == (
        f"This web node transcribes nothing itself; 1 worker does: 1 on the CPU ({answer['compute_type']})."
    )
    assert (facts["role"], facts["status"], facts["engines"], facts["stages"]) == ("web", "ok", [], [])
    assert facts["last_receipt"]["worker"] == worker["id"]
    assert facts["last_receipt"]["job_id"] == answer["job_id"]
    (shown,) = facts["workers"]
    assert (shown["device"], shown["model"], shown["is_gpu_proven"]) == ("cpu", "tiny.en", False)
    assert shown["proof_age_seconds"] >= 0 and shown["jobs"] == {"succeeded": 1}
    page = web.request("GET", "/diagnostics", headers={"Accept": "text/html"}).body.decode()
    assert worker["id"] in page and facts["verdict"] in page
    figures = web.get("/metrics").body.decode()
    assert f'transcriber_worker_jobs_total{{status="succeeded",worker="{worker["id"]}"}} 1.0' in figures
    assert "transcriber_ready 1.0" in figures
    refused = web.request("POST", "/models/tiny.en/load")
    assert (refused.status, refused.json["error"]["code"]) == (409, "no_engine_here")


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
