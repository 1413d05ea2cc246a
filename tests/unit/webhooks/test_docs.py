"""docs/webhooks.md says what the code does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from job_stores import NOW, make_delivery, make_job
from transcriber.domain.jobs import JobStatus, Webhook
from transcriber.webhooks import payload, tries
from transcriber.webhooks.signing import signed_headers
from transcriptions import make_transcription

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "webhooks.md").read_text()

ERRORS = sorted(value for name, value in vars(tries).items() if name.isupper() and isinstance(value, str))


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def fields(message: dict[str, Any]) -> list[str]:
    return [*message, *message["data"]]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_of_a_delivery_is_named(error: str) -> None:
    assert f"`{error}`" in PAGE


def test_example_message_has_the_fields_of_a_real_one() -> None:
    job = make_job().evolve(
        status=JobStatus.SUCCEEDED, completed_at=NOW, webhook=Webhook(url="https://a.example/")
    )

    delivery = payload.make_delivery(job, make_transcription(), NOW, lambda: "msg_1")

    assert delivery is not None
    assert fields(json.loads(block("json"))) == fields(json.loads(delivery.payload))


def test_table_of_tries_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) s \|", PAGE, re.MULTILINE)
    hourly = re.search(r"^\| (\d+) to (\d+) \| (\d+) s \| 2.1 h to 24.1 h", PAGE, re.MULTILINE)

    assert hourly is not None
    first, last, seconds = (int(group) for group in hourly.groups())
    waits = [float(wait) for _, wait in rows[1:]] + [float(seconds)] * (last - first + 1)
    assert [int(number) for number, _ in rows] == list(range(1, first))
    assert tuple(waits) == tries.RETRY_DELAYS


def test_example_receiver_takes_a_signed_message_once_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(block("python"), names)
    client = names["app"].test_client()
    delivery = make_delivery(
        secret=names["SECRET"], payload='{"type": "job.succeeded", "data": {"job_id": "job_1"}}'
    )
    headers = signed_headers(delivery, datetime.now(UTC))

    statuses = [
        client.post("/transcripts", data=delivery.payload, headers=headers).status_code,
        client.post("/transcripts", data=delivery.payload, headers=headers).status_code,
        client.post("/transcripts", data=delivery.payload + " ", headers=headers).status_code,
    ]

    assert statuses == [204, 204, 400]
    assert capsys.readouterr().out == "job.succeeded job_1\n"
