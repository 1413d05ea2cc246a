"""What Prometheus reads, through its own parser."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from fake_ports import NOW, FakeClock, FakeEngine
from metrics_example import (
    READINGS,
    families,
    make_full_metrics,
    make_job,
    make_metrics,
    make_state,
    on_gpu,
    value,
)
from transcriber.domain.errors import EngineCrashedError, JobCancelledError, UndecodableMediaError
from transcriber.domain.transcript import Timings
from transcriptions import make_transcription


def test_job_on_the_gpu_is_counted_there() -> None:
    clock = FakeClock()
    clock.seconds = 60.0
    metrics = make_metrics(clock)

    metrics.observe_job_ended(make_job(), on_gpu(), None)

    assert value(metrics, "transcriber_jobs_total", device="cuda", outcome="succeeded") == 1
    assert value(metrics, "transcriber_jobs_gpu_requested_total") == 1
    assert value(metrics, "transcriber_jobs_gpu_used_total") == 1
    assert value(metrics, "transcriber_windows_total", device="cuda") == 4
    assert value(metrics, "transcriber_audio_seconds_total", device="cuda", model="base") == 10
    assert value(metrics, "transcriber_queue_wait_seconds_sum") == 2
    assert value(metrics, "transcriber_upload_bytes_sum") == 2_000_000
    assert value(metrics, "transcriber_fallback_total", reason="none_given") == 0


def test_stages_have_seconds_and_rtf_and_total_is_without_the_queue() -> None:
    metrics = make_metrics()

    metrics.observe_job(on_gpu())

    labels = {"device": "cuda", "model": "base"}
    seconds = {"audio_decode": 0.1, "vad": 0.2, "language_detection": 0.3, "transcription": 0.5, "total": 1.5}
    for stage, expected in seconds.items():
        assert value(metrics, "transcriber_stage_seconds_sum", stage=stage, **labels) == pytest.approx(
            expected
        )
        assert value(metrics, "transcriber_stage_rtf_sum", stage=stage, **labels) == pytest.approx(
            expected / 10
        )


def test_stage_that_did_not_run_is_not_observed() -> None:
    metrics = make_metrics()

    metrics.observe_job(on_gpu(timings=Timings(transcription=1.0, total=1.0)))

    assert value(metrics, "transcriber_stage_seconds_count", stage="vad", device="cuda", model="base") is None


@pytest.mark.parametrize("duration", [0.0, math.nan, math.inf])
def test_numbers_that_are_none_spoil_no_sum(duration: float) -> None:
    metrics = make_metrics()
    broken = Timings(audio_decode=math.nan, transcription=1.0, total=math.nan)

    metrics.observe_job(on_gpu(duration=duration, timings=broken))
    metrics.observe_job(on_gpu())

    labels = {"device": "cuda", "model": "base"}
    assert value(metrics, "transcriber_audio_seconds_total", **labels) == 10
    assert value(metrics, "transcriber_stage_seconds_sum", stage="total", **labels) == 1.5
    assert value(metrics, "transcriber_stage_rtf_count", stage="transcription", **labels) == 1


def test_fallback_is_counted_by_its_reason() -> None:
    metrics = make_metrics()

    metrics.observe_job(make_transcription())

    assert value(metrics, "transcriber_fallback_total", reason="no_driver") == 1
    assert value(metrics, "transcriber_fallback_total", reason="none_given") == 0
    assert value(metrics, "transcriber_jobs_gpu_used_total") == 0


@pytest.mark.parametrize("device", ["cpu", "mixed", "unknown"])
def test_job_that_missed_the_gpu_without_a_reason_is_a_silent_fallback(device: str) -> None:
    metrics = make_metrics()

    metrics.observe_job(on_gpu(gpu_used=False, device=device))

    assert value(metrics, "transcriber_fallback_total", reason="none_given") == 1


def test_job_that_wanted_the_cpu_is_no_fallback() -> None:
    metrics = make_metrics()
    job = on_gpu(gpu_used=False, device="cpu")

    metrics.observe_job(replace(job, requested=replace(job.requested, use_gpu=False)))

    assert value(metrics, "transcriber_fallback_total", reason="none_given") == 0
    assert value(metrics, "transcriber_jobs_gpu_requested_total") == 0
    assert value(metrics, "transcriber_jobs_gpu_used_ratio") is None


def test_ratio_is_that_of_the_newest_hundred_jobs() -> None:
    metrics = make_metrics()

    for _ in range(50):
        metrics.observe_job(make_transcription())
    for _ in range(75):
        metrics.observe_job(on_gpu())

    assert value(metrics, "transcriber_jobs_gpu_used_ratio") == 0.75


def test_failure_is_counted_by_its_code() -> None:
    metrics = make_metrics()

    metrics.observe_job_ended(make_job(), None, EngineCrashedError())
    metrics.observe_job_ended(make_job(), None, UndecodableMediaError())
    metrics.observe_failure("engine_crashed")

    assert value(metrics, "transcriber_jobs_total", device="none", outcome="failed") == 3
    assert value(metrics, "transcriber_job_failures_total", code="engine_crashed") == 2
    assert value(metrics, "transcriber_job_failures_total", code="undecodable_media") == 1


def test_cancelled_job_is_no_failure_and_says_nothing_of_the_queue() -> None:
    metrics = make_metrics()

    metrics.observe_job_ended(make_job(), None, JobCancelledError())

    assert value(metrics, "transcriber_jobs_total", device="none", outcome="cancelled") == 1
    assert value(metrics, "transcriber_jobs_total", device="none", outcome="failed") == 0
    assert value(metrics, "transcriber_queue_wait_seconds_count") == 0


def test_labels_are_bounded() -> None:
    metrics = make_metrics()

    for number in range(500):
        metrics.observe_failure(f"code_{number}")
        metrics.observe_job(on_gpu(model=f"model-{number}"))
    metrics.observe_failure('x"} 1\nfake_metric 1')
    metrics.observe_failure("y" * 1000)
    metrics.observe_request("BREW" * 20, "/", 405, 0.1)

    assert len(families(metrics)["transcriber_job_failures_total"].samples) == 101
    assert len(families(metrics)["transcriber_audio_seconds_total"].samples) == 31
    assert value(metrics, "transcriber_job_failures_total", code="other") == 402
    assert value(metrics, "transcriber_http_requests_total", method="other", route="/", status="405") == 1


def test_nothing_of_a_job_but_its_facts_gets_out() -> None:
    page = make_full_metrics().render().decode()

    for secret in ("job_secret", "private", "flac", "Ask not"):
        assert secret not in page


def test_requests_are_counted_by_pattern() -> None:
    metrics = make_metrics()

    metrics.observe_request("GET", "/jobs/{job_id}", 200, 0.02)

    labels = {"method": "GET", "route": "/jobs/{job_id}"}
    assert value(metrics, "transcriber_http_requests_total", status="200", **labels) == 1
    assert value(metrics, "transcriber_http_request_seconds_bucket", le="0.025", **labels) == 1
    assert value(metrics, "transcriber_http_request_seconds_bucket", le="0.01", **labels) == 0


def test_gauges_are_read_when_they_are_asked_for() -> None:
    metrics, sizes = make_metrics(), iter((5, 6))
    metrics.watch(lambda: make_state(queue_size=next(sizes)))

    assert [value(metrics, "transcriber_queue_size") for _ in range(2)] == [5, 6]


def test_state_of_a_proven_gpu() -> None:
    metrics = make_metrics()
    metrics.watch(make_state)

    engine = {"device": "cuda", "model": "base", "compute_type": "float16"}
    gpu = {"uuid": "GPU-1", "name": "NVIDIA Stand-in"}
    assert value(metrics, "transcriber_ready") == 1
    assert value(metrics, "transcriber_health_status", status="ok") == 1
    assert value(metrics, "transcriber_health_status", status="degraded") == 0
    assert value(metrics, "transcriber_gpu_wanted") == 1
    assert value(metrics, "transcriber_gpu_proven") == 1
    assert value(metrics, "transcriber_gpu_proof_age_seconds") == 90
    assert families(metrics)["transcriber_gpu_fault_info"].samples == []
    assert value(metrics, "transcriber_engines", **engine) == 1
    assert value(metrics, "transcriber_engine_uptime_seconds", **engine) == 0
    assert value(metrics, "transcriber_engine_restarts_total") == 2
    assert value(metrics, "transcriber_gpu_memory_used_bytes", **gpu) == 3000
    assert value(metrics, "transcriber_gpu_utilization_ratio", **gpu) == 0.25
    assert value(metrics, "transcriber_gpu_energy_joules_total", **gpu) == 1234.5
    assert value(metrics, "transcriber_gpu_readings_age_seconds", **gpu) == 7


def test_state_without_a_gpu_has_no_numbers_in_place_of_facts() -> None:
    metrics = make_metrics()
    metrics.watch(
        lambda: make_state(
            is_gpu_proven=False, gpu_proven_at=None, gpu_fault="no_nvidia_gpu", gpu=None, engines=()
        )
    )

    assert value(metrics, "transcriber_gpu_proven") == 0
    assert value(metrics, "transcriber_gpu_fault_info", code="no_nvidia_gpu") == 1
    for name in ("gpu_proof_age_seconds", "gpu_memory_free_bytes", "gpu_energy_joules_total", "engines"):
        assert families(metrics)[f"transcriber_{name}"].samples == []


def test_reading_that_the_device_does_not_give_is_absent() -> None:
    metrics = make_metrics()
    metrics.watch(lambda: make_state(gpu=replace(READINGS, utilization=None, energy_joules=None)))

    assert families(metrics)["transcriber_gpu_utilization_ratio"].samples == []
    assert families(metrics)["transcriber_gpu_energy_joules_total"].samples == []
    assert families(metrics)["transcriber_gpu_temperature_celsius"].samples[0].value == 61


def test_two_engines_of_a_kind_are_one_series_with_the_uptime_of_the_newest() -> None:
    older = replace(FakeEngine("cuda", ()).info, started_at=NOW - timedelta(seconds=60))
    newer = replace(older, started_at=NOW - timedelta(seconds=20))
    metrics = make_metrics()
    metrics.watch(lambda: make_state(engines=(newer, older)))

    engine = {"device": "cuda", "model": "base", "compute_type": "float16"}
    assert value(metrics, "transcriber_engines", **engine) == 2
    assert value(metrics, "transcriber_engine_uptime_seconds", **engine) == 20


def test_canary_is_absent_until_it_has_run() -> None:
    metrics = make_metrics()

    assert families(metrics)["transcriber_canary_passed"].samples == []
    assert families(metrics)["transcriber_canary_runs_total"].samples == []


def test_canary_tells_its_newest_outcome_and_its_age_grows() -> None:
    clock = FakeClock()
    metrics = make_metrics(clock)

    metrics.set_canary("passed", 1.5)
    metrics.set_canary("failed", 2.5, 10.0)
    metrics.set_canary("passed", 9.0, device="cpu")
    clock.seconds += 5

    assert value(metrics, "transcriber_canary_passed", device="cuda") == 0
    assert value(metrics, "transcriber_canary_passed", device="cpu") == 1
    assert value(metrics, "transcriber_canary_seconds", device="cuda") == 2.5
    assert value(metrics, "transcriber_canary_age_seconds", device="cuda") == 15
    assert value(metrics, "transcriber_canary_runs_total", device="cuda", outcome="passed") == 1
    assert value(metrics, "transcriber_canary_runs_total", device="cuda", outcome="failed") == 1


def test_skipped_canary_leaves_the_last_word_standing() -> None:
    clock = FakeClock()
    metrics = make_metrics(clock)
    metrics.set_canary("passed", 1.5)
    clock.seconds += 60

    metrics.set_canary("skipped", 0.0)
    metrics.set_canary("slow", 9.0)
    metrics.set_canary("failed", 0.0, stands=False)

    assert value(metrics, "transcriber_canary_passed", device="cuda") == 1
    assert value(metrics, "transcriber_canary_age_seconds", device="cuda") == 60
    for outcome in ("skipped", "slow", "failed"):
        assert value(metrics, "transcriber_canary_runs_total", device="cuda", outcome=outcome) == 1


def test_two_applications_share_nothing() -> None:
    one, other = make_metrics(), make_metrics()

    one.observe_job(on_gpu())

    assert value(other, "transcriber_jobs_gpu_used_total") == 0


def test_page_has_no_created_series_and_names_by_the_convention() -> None:
    found = families(make_full_metrics())

    assert value(make_metrics(), "transcriber_build_info", version="1.2.3") == 1
    assert not [name for name in found if name.endswith("_created")]
    for name, family in found.items():
        assert name.startswith(("transcriber_", "process_")), name
        assert family.documentation.endswith(".") and "  " not in family.documentation, name


def test_worker_of_a_fleet_has_its_own_series() -> None:
    metrics = make_metrics()
    metrics.watch(make_state)
    named = {"worker": "gpu-1-4711-abc"}

    assert value(metrics, "transcriber_worker_able", **named) == 1
    assert value(metrics, "transcriber_worker_proof_age_seconds", **named) == 8.5
    assert value(metrics, "transcriber_worker_jobs_running", **named) == 2
    assert value(metrics, "transcriber_worker_jobs_total", **named, status="succeeded") == 7
    assert value(metrics, "transcriber_worker_windows_total", **named, device="cuda") == 9
    (info,) = families(metrics)["transcriber_worker_info"].samples
    assert (info.labels["device_name"], info.labels["compute_type"]) == ("NVIDIA Stand-in", "float16")
