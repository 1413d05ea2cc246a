"""The way of one job: device, fallback, retries, and facts that follow the evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_ports import NOW, FakeClock, FakeDecoder, FakeEngine, FakeEnginePool, gpu_status
from transcriber.domain.errors import (
    EngineCrashedError,
    EngineFailedError,
    EngineStartError,
    GpuRequiredError,
    JobCancelledError,
)
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import FallbackReason, Transcription
from transcriber.gpu.facts import GpuStatus
from transcriber.transcribing import DevicePlan, Transcriber

NO_DRIVER = FallbackReason(code="no_driver", message="There is no driver.", fix="Install it.")


def make_job(*, use_gpu: bool = True, require_gpu: bool = False, ignored: tuple[str, ...] = ()) -> Job:
    return Job(
        id="job_" + "x" * 24,
        status=JobStatus.RUNNING,
        request=TranscriptionRequest(
            model="base",
            use_gpu=use_gpu,
            require_gpu=require_gpu,
            options=TranscriptionOptions(),
            ignored=ignored,
        ),
        file_name="speech.flac",
        size_bytes=1,
        created_at=NOW,
        started_at=NOW,
        attempts=1,
    )


def run(
    pool: FakeEnginePool,
    job: Job | None = None,
    *,
    status: GpuStatus | None = None,
    policy: str = "preferred",
    cancelled: bool = False,
) -> Transcription:
    transcriber = Transcriber(
        decoder=FakeDecoder(),
        engines=pool,
        gpu_status=lambda: status or gpu_status(),
        devices=DevicePlan(policy=policy, gpu_compute_type="auto", cpu_compute_type="int8"),
        clock=FakeClock(),
    )
    return transcriber.run(job or make_job(), Path("upload"), Path("pcm"), lambda: cancelled)


def both(**changes: FakeEngine) -> FakeEnginePool:
    engines = {"cuda": FakeEngine("cuda", ("cuda", "cuda")), "cpu": FakeEngine("cpu", ("cpu", "cpu"))}
    return FakeEnginePool(engines=engines | changes)


def test_all_windows_on_cuda_is_gpu_used() -> None:
    answer = run(both())

    assert (answer.gpu_used, answer.device, answer.compute_type) == (True, "cuda", "float16")
    assert answer.fallback_reason is None
    assert (answer.receipt.windows_gpu, answer.receipt.windows_total) == (2, 2)
    assert answer.receipt.device_uuid == "GPU-1"


def test_unusable_gpu_falls_back_to_the_cpu_with_the_cause() -> None:
    answer = run(both(), status=gpu_status(NO_DRIVER))

    assert (answer.gpu_used, answer.device, answer.compute_type) == (False, "cpu", "int8_float32")
    assert answer.fallback_reason == NO_DRIVER
    assert (answer.requested.use_gpu, answer.requested.device) == (True, "cuda")


def test_cpu_asked_for_is_no_fallback() -> None:
    answer = run(both(), make_job(use_gpu=False))

    assert (answer.gpu_used, answer.device, answer.fallback_reason) == (False, "cpu", None)
    assert answer.requested.compute_type == "int8"


def test_require_gpu_without_one_is_an_error() -> None:
    with pytest.raises(GpuRequiredError) as caught:
        run(both(), make_job(require_gpu=True), status=gpu_status(NO_DRIVER))

    assert "There is no driver" in caught.value.message
    assert caught.value.fix == "Install it."


def test_engine_that_claims_cuda_while_windows_ran_on_the_cpu_is_caught_and_ended() -> None:
    liar = FakeEngine("cuda", ("cpu", "cpu"))
    pool = both(cuda=liar)

    answer = run(pool)

    assert (answer.gpu_used, answer.device) == (False, "cpu")
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "engine_device_mismatch"
    assert pool.discarded == [liar]


def test_lie_under_require_gpu_is_an_error_not_an_answer() -> None:
    with pytest.raises(GpuRequiredError):
        run(both(cuda=FakeEngine("cuda", ("cpu",))), make_job(require_gpu=True))


def test_mixed_windows_are_not_gpu_used() -> None:
    answer = run(both(cuda=FakeEngine("cuda", ("cuda", "cpu", "cuda"))))

    assert (answer.gpu_used, answer.device) == (False, "mixed")
    assert (answer.receipt.windows_gpu, answer.receipt.windows_cpu) == (2, 1)


def test_no_window_at_all_is_no_proof() -> None:
    answer = run(both(cuda=FakeEngine("cuda", ())))

    assert answer.gpu_used is False


def test_engine_that_dies_once_is_tried_again_on_the_same_device() -> None:
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[EngineCrashedError()]))

    answer = run(pool)

    assert pool.lent == ["cuda", "cuda"]
    assert answer.gpu_used
    assert answer.receipt.attempts == 2
    assert len(answer.segments) == 1, "segments of the lost attempt are gone"


def test_gpu_engine_that_dies_twice_hands_over_to_the_cpu() -> None:
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[EngineCrashedError(), EngineCrashedError()]))

    answer = run(pool)

    assert pool.lent == ["cuda", "cuda", "cpu"]
    assert (answer.gpu_used, answer.device) == (False, "cpu")
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "engine_crashed"


def test_cpu_engine_that_dies_twice_is_an_error() -> None:
    crashes = [EngineCrashedError(), EngineCrashedError()]

    with pytest.raises(EngineCrashedError):
        run(both(cpu=FakeEngine("cpu", ("cpu",), errors=list(crashes))), make_job(use_gpu=False))


def test_gpu_engine_that_does_not_start_hands_over_with_its_code() -> None:
    pool = FakeEnginePool(
        engines={"cpu": FakeEngine("cpu", ("cpu",))},
        start_error=EngineStartError("libcublas.so.12 is missing.", code="cublas_missing", fix="Install it."),
    )

    answer = run(pool)

    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "cublas_missing"
    assert answer.device == "cpu"


def test_gpu_engine_that_does_not_start_is_an_error_under_required() -> None:
    pool = FakeEnginePool(engines={}, start_error=EngineStartError("No.", code="cublas_missing", fix="Fix."))

    with pytest.raises(GpuRequiredError):
        run(pool, policy="required")


def test_out_of_memory_on_the_gpu_hands_over_at_once() -> None:
    error = EngineFailedError("CUDA out of memory", code="out_of_memory", fix="Use a smaller model.")
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[error]))

    answer = run(pool)

    assert pool.lent == ["cuda", "cpu"]
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "cuda_out_of_memory"


def test_cancelled_job_does_not_reach_the_engine() -> None:
    pool = both()

    with pytest.raises(JobCancelledError):
        run(pool, cancelled=True)


def test_ignored_parameters_are_named_in_the_warnings() -> None:
    answer = run(both(), make_job(ignored=("diarize",)))

    assert [(w.code, w.param) for w in answer.warnings] == [("ignored_parameter", "diarize")]


def test_answer_adds_up() -> None:
    answer = run(both())

    assert answer.text.startswith("Ask not what")
    assert answer.duration == 10.0
    assert (answer.timings.vad, answer.timings.language_detection, answer.timings.transcription) == (
        0.1,
        0.2,
        0.3,
    )
