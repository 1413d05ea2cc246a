from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from job_stores import NOW, make_job
from transcriber.domain.jobs import DeliveryStatus, JobError, JobStatus, Webhook
from transcriber.domain.transcript import FallbackReason
from transcriber.webhooks.ids import new_delivery_id
from transcriber.webhooks.payload import make_delivery
from transcriptions import make_segment, make_transcription

LATER = NOW + timedelta(seconds=30)
JOB = make_job().evolve(
    status=JobStatus.SUCCEEDED,
    started_at=NOW + timedelta(seconds=1),
    completed_at=LATER,
    webhook=Webhook(url="https://hooks.example.com/a", secret="a secret of some length"),
)


def numbered(text: str = "msg_1") -> Callable[[], str]:
    return lambda: text


def test_error_has_the_fields_of_the_api_and_no_others() -> None:
    error = JobError(code="driver_too_old", message="Too old.", fix="Update it.", kind="gpu_required")

    delivery = make_delivery(JOB.evolve(status=JobStatus.FAILED, error=error), None, LATER, numbered())

    assert delivery is not None
    assert json.loads(delivery.payload)["data"]["error"] == {
        "code": "driver_too_old",
        "message": "Too old.",
        "param": None,
        "fix": "Update it.",
    }


def test_job_without_webhook_has_no_delivery() -> None:
    assert make_delivery(JOB.evolve(webhook=None), make_transcription(), LATER, numbered()) is None


def test_delivery_is_due_at_once_and_knows_its_receiver() -> None:
    delivery = make_delivery(JOB, make_transcription(), LATER, numbered("msg_7"))

    assert delivery is not None
    assert (delivery.id, delivery.job_id, delivery.url) == ("msg_7", JOB.id, "https://hooks.example.com/a")
    assert delivery.secret == "a secret of some length"
    assert delivery.status is DeliveryStatus.PENDING and delivery.tries == 0
    assert delivery.created_at == delivery.next_try_at == LATER


def test_message_of_a_succeeded_job_says_where_it_ran_and_nothing_that_was_said() -> None:
    reason = FallbackReason(code="driver_too_old", message="The driver is too old.", fix="Update it.")
    transcription = make_transcription(make_segment(text=" Top secret."), fallback_reason=reason)

    delivery = make_delivery(JOB, transcription, LATER, numbered())

    assert delivery is not None and "secret" not in delivery.payload
    assert json.loads(delivery.payload) == {
        "type": "job.succeeded",
        "timestamp": "2026-01-02T00:00:30+00:00",
        "data": {
            "job_id": JOB.id,
            "status": "succeeded",
            "created_at": "2026-01-02T00:00:00+00:00",
            "started_at": "2026-01-02T00:00:01+00:00",
            "completed_at": "2026-01-02T00:00:30+00:00",
            "file_name": "speech.mp3",
            "error": None,
            "transcript_url": f"/jobs/{JOB.id}/transcript.json",
            "duration": 11.0,
            "model": "base",
            "gpu_used": False,
            "device": "cpu",
            "compute_type": "int8_float32",
            "fallback_reason": {
                "code": "driver_too_old",
                "message": "The driver is too old.",
                "fix": "Update it.",
            },
            "language": "en",
        },
    }


def test_message_of_a_failed_job_has_its_error_and_no_transcript() -> None:
    error = JobError(code="engine_crashed", message="It died twice.", fix="Send another file.")
    job = JOB.evolve(status=JobStatus.FAILED, error=error, duration=61.23456)

    delivery = make_delivery(job, None, LATER, numbered())

    assert delivery is not None
    message = json.loads(delivery.payload)
    assert message["type"] == "job.failed"
    assert message["data"]["error"] == {
        "code": "engine_crashed",
        "message": "It died twice.",
        "fix": "Send another file.",
        "param": None,
    }
    assert message["data"]["duration"] == 61.235
    assert [message["data"][name] for name in ("transcript_url", "gpu_used", "device", "language")] == [
        None
    ] * 4


def test_job_that_was_cancelled_in_the_queue_is_told_of() -> None:
    delivery = make_delivery(JOB.evolve(status=JobStatus.CANCELLED, started_at=None), None, LATER, numbered())

    assert delivery is not None
    message = json.loads(delivery.payload)
    assert (message["type"], message["data"]["started_at"]) == ("job.cancelled", None)


def test_file_name_of_any_bytes_becomes_a_body() -> None:
    delivery = make_delivery(JOB.evolve(file_name="a\udcff\r\n'\u2028.mp3"), None, LATER, numbered())

    assert delivery is not None
    assert json.loads(delivery.payload.encode())["data"]["file_name"] == "a\udcff\r\n'\u2028.mp3"


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_job_that_has_not_ended_has_no_message(status: JobStatus) -> None:
    with pytest.raises(ValueError, match="not a final status"):
        make_delivery(JOB.evolve(status=status), None, LATER, numbered())


def test_ids_differ_and_carry_128_bits() -> None:
    ids = {new_delivery_id() for _ in range(200)}

    assert len(ids) == 200
    assert {len(one) for one in ids} == {len("msg_") + 22}
