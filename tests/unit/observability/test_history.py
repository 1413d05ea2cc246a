"""The last hour is kept by the minute, and no longer."""

from __future__ import annotations

from dataclasses import replace

from fake_ports import FakeClock
from fakes import NOW
from transcriber.domain.errors import NoAudioStreamError
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.observability.history import MINUTES, History
from transcriber.observability.stages import stages
from transcriptions import make_transcription

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
JOB = Job(
    id="job_1",
    status=JobStatus.SUCCEEDED,
    request=REQUEST,
    file_name="a.wav",
    size_bytes=1,
    created_at=NOW,
    number=1,
)


def test_jobs_and_states_are_told_by_the_minute_they_fell_into() -> None:
    clock = FakeClock()
    hour = History(clock)
    for rtfx in (10.0, 20.0, 40.0):
        hour.note_job(JOB, replace(make_transcription(), rtfx=rtfx), None)
    hour.note_state(waiting=3, at_work=1, gpu_use=None)
    hour.note_state(waiting=1, at_work=2, gpu_use=None)
    clock.seconds += 60
    hour.note_job(JOB, replace(make_transcription(), rtfx=50.0, gpu_used=True), None)
    hour.note_state(waiting=0, at_work=0, gpu_use=0.5)
    hour.note_state(waiting=0, at_work=0, gpu_use=0.7)

    facts = hour.facts()

    assert (facts["jobs"], facts["jobs_on_gpu"], facts["rtf_median"]) == (4, 1, 0.0375)
    assert facts["rtf_cpu"][-2:] == [0.05, None]
    assert facts["rtf_gpu"][-2:] == [None, 0.02]
    assert facts["waiting"][-2:] == [3, 0]
    assert facts["at_work"][-2:] == [2, 0]
    assert facts["gpu_use"][-2:] == [None, 0.6]
    assert [len(facts[name]) for name in ("rtf_gpu", "rtf_cpu", "waiting", "at_work", "gpu_use")] == [
        MINUTES
    ] * 5


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    clock = FakeClock()
    hour = History(clock)
    for _ in range(3 * MINUTES):
        hour.note_state(waiting=7, at_work=0, gpu_use=None)
        clock.seconds += 60
    hour.note_state(waiting=1, at_work=0, gpu_use=None)

    assert hour.facts()["waiting"] == [7] * (MINUTES - 1) + [1]
    assert len(hour._minutes) <= MINUTES
    clock.seconds += 60 * MINUTES
    assert set(hour.facts()["waiting"]) == {None}


def test_job_that_failed_tells_nothing_of_speed() -> None:
    hour = History(FakeClock())
    hour.note_job(JOB, None, NoAudioStreamError())

    assert (hour.facts()["jobs"], hour.last) == (0, None)


def test_stages_tell_the_device_of_each() -> None:
    last = make_transcription()

    found = {stage["stage"]: stage for stage in stages((), last)}

    assert [stage["device"] for stage in stages((), None)] == ["cpu", "cpu", "cpu", None]
    assert found["encoder and decoder"]["device"] == f"{last.device} ({last.compute_type})"
    assert found["decoding"]["last_seconds"] == round(last.timings.audio_decode, 3)
