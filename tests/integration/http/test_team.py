"""Keys beside a running service: made and revoked by the command line, and fair turns in the queue."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from server import Server
from silent_form import silence

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
FLOOD = 500


def command(server: Server, *arguments: str) -> str:
    """What `python -m transcriber keys …` prints, on the server's data folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WHISPER_")}
    env |= {"WHISPER_DATA_DIR": str(server.data_dir), "PYTHONPATH": str(ROOT / "flask-app")}
    done = subprocess.run(
        [sys.executable, "-m", "transcriber", "keys", *arguments], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_key(server: Server, name: str, *more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {command(server, 'add', name, *more).splitlines()[-1]}"}


def submit(server: Server, headers: dict[str, str]) -> str:
    body, content_type = silence()
    answer = server.request("POST", "/jobs", body=body, headers=headers | {"Content-Type": content_type})
    assert answer.status == 202, answer.text
    return str(answer.json["job_id"])


def wait_seconds(server: Server, headers: dict[str, str], job_ids: list[str]) -> list[float]:
    """From submission to end, for each."""
    deadline = time.monotonic() + 300
    found: list[float] = []
    for job_id in job_ids:
        while True:
            job = server.get(f"/jobs/{job_id}", headers=headers).json
            if job["status"] == "succeeded":
                break
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
        begun, ended = (datetime.fromisoformat(job[name]) for name in ("created_at", "completed_at"))
        found.append((ended - begun).total_seconds())
    return found


def test_command_counts_within_a_second(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_ENGINE_COMMAND=STAND_IN)
    assert server.get("/jobs").status == 200

    alice = make_key(server, "alice")
    server.wait_for("/jobs", timeout=1, status=401)
    assert server.get("/jobs", headers=alice).status == 200

    command(server, "revoke", "alice")
    basic = {"Authorization": "Basic " + base64.b64encode(f":{alice['Authorization'][7:]}".encode()).decode()}
    deadline = time.monotonic() + 1
    while (status := server.get("/jobs", headers=basic).status) != 401 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status == 401
    assert "revoked" in command(server, "list")
    assert '"key_revoked"' in server.log_text()


@pytest.mark.slow
def test_flood_of_one_key_delays_another_by_at_most_its_share(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_ENGINE_COMMAND=f"{STAND_IN} --pace 1", WHISPER_MAX_QUEUE="2000")
    flooding, other = make_key(server, "flooding"), make_key(server, "other")
    server.wait_for("/jobs", timeout=1, status=401)
    alone = wait_seconds(server, other, [submit(server, other) for _ in range(5)])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: submit(server, flooding), range(FLOOD)))

    beside = wait_seconds(server, other, [submit(server, other) for _ in range(5)])

    left = server.get("/jobs?status=queued&limit=1", headers=flooding).json["counts"]["queued"]
    print(f"alone {sum(alone) / 5:.2f} s, beside {FLOOD} jobs {sum(beside) / 5:.2f} s; {left} still wait")
    assert left > FLOOD // 2
    assert sum(beside) <= 2 * sum(alone)
