"""A client as the documentation tells it to be: one Idempotency-Key a file, and sent again until there is an answer."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos_audio import Audio
from server import Answer, Server, multipart

#: Answers after which the same request may be sent again.
TRY_AGAIN = frozenset({429, 503, 507})

FINAL = frozenset({"succeeded", "failed", "cancelled"})

#: What a connection that breaks raises: some of http.client's errors are no OSError.
BROKEN = (OSError, http.client.HTTPException)


@dataclass
class Order:
    """One file that somebody wants transcribed, and what became of the request."""

    key: str
    audio: Audio
    fields: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None
    #: Statuses of the answers, and how many tries had none.
    answers: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    #: The answer said that the job was there already.
    was_replayed: bool = False

    @property
    def is_acknowledged(self) -> bool:
        return self.job_id is not None


def try_once(server: Server, order: Order, *, timeout: float = 60.0) -> Answer | None:
    """Send the order; None where no answer came."""
    body, content_type = multipart(order.audio.path.read_bytes(), order.audio.path.name, order.fields)
    headers = {"Content-Type": content_type, "Accept": "application/json", "Idempotency-Key": order.key}
    try:
        answer = server.request("POST", "/jobs", body=body, headers=headers, timeout=timeout)
    except BROKEN:
        order.unanswered += 1
        return None
    order.answers[answer.status] += 1
    if answer.status == 202:
        order.job_id = answer.json["job_id"]
        order.was_replayed = answer.headers.get("idempotency-replayed") == "true"
    return answer


def submit(server: Server, order: Order, *, timeout: float = 300.0, pause: float = 0.1) -> None:
    """Send the order until it is acknowledged. Raises RuntimeError when it is refused for good, TimeoutError."""
    deadline = time.monotonic() + timeout
    while not order.is_acknowledged:
        answer = try_once(server, order)
        if answer is not None and answer.status != 202 and answer.status not in TRY_AGAIN:
            raise RuntimeError(f"{order.key}: {answer.status} {answer.text[:500]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{order.key} was not acknowledged: {dict(order.answers)}")
        if not order.is_acknowledged:
            time.sleep(pause)


def look(server: Server, job_id: str, *, timeout: float = 60.0) -> dict[str, Any] | None:
    """The job as the API shows it; None where no answer came, or one that says to ask again."""
    try:
        answer = server.get(f"/jobs/{job_id}", headers={"Accept": "application/json"}, timeout=timeout)
    except BROKEN:
        return None
    if answer.status in TRY_AGAIN:
        return None
    if answer.status == 404:
        return {"job_id": job_id, "status": "gone"}
    if answer.status != 200:
        raise RuntimeError(f"GET /jobs/{job_id}: {answer.status} {answer.text[:500]}")
    return dict(answer.json)


def wait_for_end(server: Server, job_id: str, *, timeout: float = 600.0) -> dict[str, Any]:
    """The job once it has ended, through any number of restarts. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while True:
        job = look(server, job_id)
        if job is not None and job["status"] in FINAL | {"gone"}:
            return job
        if time.monotonic() > deadline:
            shown = {} if job is None else {k: job[k] for k in ("status", "attempts", "progress")}
            raise TimeoutError(f"{job_id} has not ended: {shown}\n{server.log_text()[-3000:]}")
        time.sleep(0.05)


def wait_for_deliveries(server: Server, job_id: str, *, timeout: float = 120.0) -> list[dict[str, Any]]:
    """The job's deliveries once none of them is pending. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while True:
        job = look(server, job_id)
        if job is not None and all(each["status"] != "pending" for each in job["deliveries"]):
            return list(job["deliveries"])
        if time.monotonic() > deadline:
            raise TimeoutError(f"deliveries of {job_id}: {job and job['deliveries']}")
        time.sleep(0.1)
