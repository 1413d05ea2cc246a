"""Metrics that have seen one of everything, so that every metric and label is in their exposition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fake_ports import NOW, FakeClock, FakeEngine
from transcriber.domain.errors import JobCancelledError, TranscriberError
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import Receipt, Requested, Timings, Transcription
from transcriber.engine.slots import SlotView
from transcriber.gpu.readings import GpuReadings
from transcriber.observability.gauges import ServiceState
from transcriber.observability.metrics import Metrics
from transcriptions import make_transcription

READINGS = GpuReadings(
    uuid="GPU-1",
    name="NVIDIA Stand-in",
    read_at=NOW - timedelta(seconds=7),
    memory_used_bytes=3_000,
    memory_free_bytes=5_000,
    memory_total_bytes=8_000,
    utilization=0.25,
    energy_joules=1_234.5,
    temperature_celsius=61.0,
)


def make_state(**changes: Any) -> ServiceState:
    """A service that serves from a proven GPU."""
    values: dict[str, Any] = {
        "age": lambda moment: (NOW - moment).total_seconds(),
        "is_ready": True,
        "health": "ok",
        "is_gpu_wanted": True,
        "is_gpu_proven": True,
        "gpu_proven_at": NOW - timedelta(seconds=90),
        "gpu_fault": None,
        "queue_size": 3,
        "queue_limit": 32,
        "engines": (FakeEngine("cuda", ()).info,),
        "engine_restarts": 2,
        "gpu": READINGS,
        "models": (
            SlotView(device="cuda", model="base", state="loaded", engine=FakeEngine("cuda", ()).info),
        ),
        "unloads": {"idle": 1},
        "disk_free_bytes": 5_000_000_000,
        "disk_reserve_bytes": 500_000_000,
        "pipeline": {"storage": "passed", "decode": "failed", "words": "unknown"},
        "pipeline_age": 12.0,
        "workers": [
            {
                "id": "gpu-1-4711-abc",
                "age_seconds": 0.5,
                "host": "gpu-1",
                "version": "1.0",
                "device": "cuda",
                "device_name": "NVIDIA Stand-in",
                "compute_type": "float16",
                "model": "base",
                "is_able": True,
                "is_gpu_proven": True,
                "proof_age_seconds": 8.5,
                "slots": 4,
                "running": 2,
                "jobs": {"succeeded": 7},
                "audio_seconds": {"cuda": 61.5},
                "windows": {"cuda": 9},
            }
        ],
        "memory": {"cuda": {"limit_bytes": 8_000, "counted_bytes": 3_000}},
    }
    return ServiceState(**(values | changes))


def make_job(**changes: Any) -> Job:
    """A job that waited two seconds and has begun."""
    options = TranscriptionOptions()
    values: dict[str, Any] = {
        "id": "job_secret",
        "status": JobStatus.RUNNING,
        "request": TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=options),
        "file_name": "private talk.flac",
        "size_bytes": 2_000_000,
        "created_at": NOW,
        "started_at": NOW + timedelta(seconds=2),
    }
    return Job(**(values | changes))


def on_gpu(**changes: Any) -> Transcription:
    """Ten seconds of audio, four windows, all of them on the GPU."""
    receipt = Receipt(
        device_name="NVIDIA Stand-in",
        device_uuid="GPU-1",
        windows_gpu=4,
        windows_cpu=0,
        windows_total=4,
        claimed_device="cuda",
        compute_type="float16",
        requested_compute_type="auto",
        engine_pid=1,
    )
    values: dict[str, Any] = {
        "gpu_used": True,
        "device": "cuda",
        "compute_type": "float16",
        "fallback_reason": None,
        "duration": 10.0,
        "receipt": receipt,
        "requested": Requested(use_gpu=True, device="cuda", compute_type="auto"),
        "timings": Timings(
            queue=2.0,
            audio_decode=0.1,
            model_load=0.0,
            vad=0.2,
            language_detection=0.3,
            transcription=0.5,
            total=3.5,
        ),
    }
    return make_transcription(**(values | changes))


def make_metrics(clock: FakeClock | None = None) -> Metrics:
    """Metrics that nothing has happened to."""
    return Metrics(version="1.2.3", clock=clock or FakeClock())


def make_full_metrics() -> Metrics:
    """Metrics that have seen one of everything."""
    metrics = make_metrics()
    metrics.watch(lambda: make_state(health="degraded", gpu_fault="cuda_no_device"))
    metrics.observe_job_ended(make_job(), on_gpu(), None)
    metrics.observe_job_ended(make_job(), make_transcription(), None)
    metrics.observe_job_ended(make_job(), None, TranscriberError(code="engine_crashed"))
    metrics.observe_job_ended(make_job(), None, JobCancelledError())
    for status in (200, 429, 507):
        metrics.observe_request("POST", "/transcribe", status, 0.5)
    metrics.set_canary("passed", 1.5, 30.0)
    metrics.observe_batches(FakeEngine("cuda", ()).info, (8, 4))
    return metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    """The exposition as Prometheus reads it: each family by the name that its type gives it."""
    found = text_string_to_metric_families(metrics.render().decode())
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in found}


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    """One sample; None where there is none."""
    samples = (sample for family in families(metrics).values() for sample in family.samples)
    return next((s.value for s in samples if s.name == name and s.labels == labels), None)
