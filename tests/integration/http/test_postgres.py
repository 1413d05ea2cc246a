"""A real server on a real PostgreSQL: the same promises as on SQLite, also when the database goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job_watch import submit, wait_until
from postgres_server import PostgresServer, find_programs
from server import ROOT, Server

STANDIN = f"{sys.executable} {ROOT / 'tests/support/standin_engine.py'}"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if find_programs() is None:
        pytest.skip("no PostgreSQL here: run scripts/tools --install")
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def settings(postgres: PostgresServer) -> dict[str, str]:
    return {
        "WHISPER_DATABASE_URL": postgres.new_database(),
        "WHISPER_ENGINE_COMMAND": STANDIN,
        "WHISPER_PIPELINE_CHECK_SECONDS": "0",
        "WHISPER_GPU_POLICY": "off",
    }


def status_of(server: Server, job_id: str) -> str:
    return str(server.get(f"/jobs/{job_id}").json["status"])


def wait_for_success(server: Server, job_id: str) -> None:
    wait_until(lambda: status_of(server, job_id) == "succeeded", f"{job_id} succeeds", 60)


def test_jobs_outlive_the_service_and_the_database(
    serve: Callable[..., Server], settings: dict[str, str], speech: Path, postgres: PostgresServer
) -> None:
    server = serve(**settings)
    first = submit(server, speech)["job_id"]
    wait_for_success(server, first)
    text = server.get(f"/jobs/{first}/transcript").json["text"]

    postgres.stop(signal.SIGQUIT)
    refused = server.get(f"/jobs/{first}")
    assert refused.status == 503 and refused.json["error"]["code"] == "database_unavailable"
    assert refused.headers["retry-after"] == "5"
    assert server.transcribe(speech, path="/jobs").status == 503
    postgres.start()
    wait_until(lambda: server.get(f"/jobs/{first}").status == 200, "answers again", 60)
    second = submit(server, speech)["job_id"]
    wait_for_success(server, second)

    server.process.kill()
    server.stop()
    server.start()
    assert server.get(f"/jobs/{first}/transcript").json["text"] == text
    assert {job["job_id"] for job in server.get("/jobs").json["jobs"]} == {first, second}
    assert "owner@" not in server.get("/diagnostics", headers={"Accept": "application/json"}).text


def test_installation_moves_to_postgresql_with_its_jobs(
    serve: Callable[..., Server], settings: dict[str, str], speech: Path
) -> None:
    url = settings.pop("WHISPER_DATABASE_URL")
    server = serve(**settings)
    job_id = submit(server, speech)["job_id"]
    wait_for_success(server, job_id)
    before = server.get(f"/jobs/{job_id}/transcript").json
    server.stop()
    server.env = {**server.env, "WHISPER_DATABASE_URL": url}
    with pytest.raises(RuntimeError, match="store_not_moved"):
        server.start()

    moved = subprocess.run(
        [sys.executable, "-m", "transcriber", "migrate-to-postgres"],
        env={
            "PYTHONPATH": str(ROOT / "flask-app"),
            "WHISPER_DATA_DIR": str(server.data_dir),
            "WHISPER_DATABASE_URL": url,
        },
        capture_output=True,
        text=True,
    )
    assert moved.returncode == 0 and "jobs: 1 rows" in moved.stdout, moved.stderr
    server.start()
    assert server.get(f"/jobs/{job_id}/transcript").json == before
