"""The way of one job: device, fallback, retries, and facts that follow the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_ports import FakeEngine, FakeEnginePool, gpu_status
from job_bench import Bench, make_job
from transcriber.domain.errors import (
    DecoderCrashedError,
    EngineCrashedError,
    EngineFailedError,
    EngineStartError,
    GpuRequiredError,
    JobCancelledError,
    UploadGoneError,
)
from transcriber.domain.events import EngineEvent, SegmentReady
from transcriber.domain.transcript import FallbackReason
from transcriber.jobs.active_job import StopReason
from transcriber.service.failure_policy import KILLS_ON_GPU

NO_DRIVER = FallbackReason(code="no_driver", message="There is no driver.", fix="Install it.")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.native.shutdown()


def both(**changes: FakeEngine) -> FakeEnginePool:
    engines = {"cuda": FakeEngine("cuda", ("cuda", "cuda")), "cpu": FakeEngine("cpu", ("cpu", "cpu"))}
    return FakeEnginePool(engines=engines | changes)


def test_all_windows_on_cuda_is_gpu_used(bench: Bench) -> None:
    answer = bench.run(both())

    assert (answer.gpu_used, answer.device, answer.compute_type) == (True, "cuda", "float16")
    assert answer.fallback_reason is None
    assert (answer.receipt.windows_gpu, answer.receipt.windows_total) == (2, 2)
    assert answer.receipt.device_uuid == "GPU-1"


def test_unusable_gpu_falls_back_to_the_cpu_with_the_cause(bench: Bench) -> None:
    answer = bench.run(both(), status=gpu_status(NO_DRIVER))

    assert (answer.gpu_used, answer.device, answer.compute_type) == (False, "cpu", "int8_float32")
    assert answer.fallback_reason == NO_DRIVER
    assert (answer.requested.use_gpu, answer.requested.device) == (True, "cuda")


def test_cpu_asked_for_is_no_fallback(bench: Bench) -> None:
    answer = bench.run(both(), make_job(use_gpu=False))

    assert (answer.gpu_used, answer.device, answer.fallback_reason) == (False, "cpu", None)
    assert answer.requested.compute_type == "int8"


def test_channels_that_were_transcribed_one_after_the_other_are_answered_by_time(bench: Bench) -> None:
    engine = FakeEngine("cpu", ("cpu",) * 4, channels=(0, 0, 1, 1))

    answer = bench.run(both(cpu=engine), make_job(use_gpu=False))

    assert [(segment.start, segment.channel) for segment in answer.segments] == [
        (0, 0),
        (0, 1),
        (3, 0),
        (3, 1),
    ]
    assert [segment.id for segment in answer.segments] == [0, 1, 2, 3]


def test_require_gpu_without_one_is_an_error(bench: Bench) -> None:
    with pytest.raises(GpuRequiredError) as caught:
        bench.run(both(), make_job(require_gpu=True), status=gpu_status(NO_DRIVER))

    assert "There is no driver" in caught.value.message
    assert caught.value.fix == "Install it."


def test_engine_that_claims_cuda_while_windows_ran_on_the_cpu_is_caught_and_ended(bench: Bench) -> None:
    liar = FakeEngine("cuda", ("cpu", "cpu"))
    pool = both(cuda=liar)

    answer = bench.run(pool)

    assert (answer.gpu_used, answer.device) == (False, "cpu")
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "engine_device_mismatch"
    assert pool.discarded == [liar]


def test_lie_under_require_gpu_is_an_error_not_an_answer(bench: Bench) -> None:
    with pytest.raises(GpuRequiredError):
        bench.run(both(cuda=FakeEngine("cuda", ("cpu",))), make_job(require_gpu=True))


def test_mixed_windows_are_not_gpu_used(bench: Bench) -> None:
    answer = bench.run(both(cuda=FakeEngine("cuda", ("cuda", "cpu", "cuda"))))

    assert (answer.gpu_used, answer.device) == (False, "mixed")
    assert (answer.receipt.windows_gpu, answer.receipt.windows_cpu) == (2, 1)


def test_no_window_at_all_is_no_proof(bench: Bench) -> None:
    answer = bench.run(both(cuda=FakeEngine("cuda", ())))

    assert answer.gpu_used is False


@pytest.mark.parametrize("untold", [(0,), (1,), (2,), (0, 1)])
def test_windows_that_the_engine_does_not_tell_of_are_no_proof(bench: Bench, untold: tuple[int, ...]) -> None:
    answer = bench.run(both(cuda=FakeEngine("cuda", ("cuda",) * 3, untold=untold)))

    assert (answer.gpu_used, answer.device) == (False, "cuda")
    assert (answer.receipt.windows_gpu, answer.receipt.windows_total) == (3 - len(untold), 3)
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "no_gpu_evidence"
    assert [segment.id for segment in answer.segments] == [0, 1, 2], "no text is lost"


def test_engine_that_tells_of_no_window_leaves_its_text_and_no_proof(bench: Bench) -> None:
    answer = bench.run(both(cuda=FakeEngine("cuda", ("cuda",) * 2, untold=(0, 1))))

    assert (answer.gpu_used, answer.device, len(answer.segments)) == (False, "unknown", 2)


def test_window_untold_in_an_earlier_run_still_lacks_at_the_end(bench: Bench) -> None:
    crash = EngineCrashedError()
    engine = FakeEngine("cuda", ("cuda",) * 4, untold=(1,), errors=[crash], error_at=3)

    answer = bench.run(both(cuda=engine))

    # Window 2 was told and not yet known to be whole, so it is done again.
    assert [window for _, window in engine.done] == [0, 1, 2, 1, 2, 3]
    assert (answer.gpu_used, answer.receipt.windows_gpu, answer.receipt.windows_total) == (False, 3, 4)


def test_untold_window_under_require_gpu_is_an_error(bench: Bench) -> None:
    with pytest.raises(GpuRequiredError, match="no evidence"):
        bench.run(both(cuda=FakeEngine("cuda", ("cuda",) * 3, untold=(1,))), make_job(require_gpu=True))


def test_engine_that_is_killed_is_replaced_on_the_same_device(bench: Bench) -> None:
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[EngineCrashedError()]))

    answer = bench.run(pool)

    assert pool.lent == ["cuda", "cuda"]
    assert answer.gpu_used
    assert answer.receipt.attempts == 2
    assert len(answer.segments) == 1
    assert bench.noted == [(0, 1)]


def test_killed_engine_s_windows_stay_and_are_not_done_again(bench: Bench) -> None:
    engine = FakeEngine("cuda", ("cuda",) * 4, errors=[EngineCrashedError()], error_at=2)

    answer = bench.run(both(cuda=engine))

    # The second window was told and not yet known to be whole, so it is done again.
    assert engine.done == [(make_job().id, index) for index in (0, 1, 1, 2, 3)]
    assert [segment.id for segment in answer.segments] == [0, 1, 2, 3]
    assert answer.receipt.windows_total == 4
    assert answer == replace(
        Bench(fresh(bench)).run(both(cuda=FakeEngine("cuda", ("cuda",) * 4))), receipt=answer.receipt
    )


def fresh(bench: Bench) -> Path:
    folder = bench.folder / "untouched"
    folder.mkdir()
    return folder


def test_gpu_engine_that_dies_of_itself_hands_over_to_the_cpu(bench: Bench) -> None:
    crash = EngineCrashedError("SIGABRT", is_fault=True)
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[crash]))

    answer = bench.run(pool)

    assert pool.lent == ["cuda", "cpu"]
    assert (answer.gpu_used, answer.device) == (False, "cpu")
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "engine_crashed"


def test_job_finished_on_another_device_than_it_began_is_mixed(bench: Bench) -> None:
    crash = EngineCrashedError("SIGABRT", is_fault=True)
    pool = both(
        cuda=FakeEngine("cuda", ("cuda",) * 3, errors=[crash], error_at=2),
        cpu=FakeEngine("cpu", ("cpu",) * 3),
    )

    answer = bench.run(pool)

    assert (answer.device, answer.gpu_used) == ("mixed", False)
    assert (answer.receipt.windows_gpu, answer.receipt.windows_cpu) == (1, 2)
    assert (answer.compute_type, answer.receipt.device_uuid) == ("mixed", "GPU-1")
    assert [(e.compute_type, e.windows) for e in answer.receipt.engines] == [
        ("float16", 1),
        ("int8_float32", 2),
    ]
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "mixed_devices"
    assert pool.discarded == [], "an engine that took over is no liar"


def test_gpu_engine_that_hung_with_several_jobs_hands_over_and_none_is_blamed(bench: Bench) -> None:
    hung = EngineCrashedError("silent for 300 s", code="engine_stalled")
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[hung]))

    answer = bench.run(pool)

    assert pool.lent == ["cuda", "cpu"]
    assert answer.fallback_reason is not None and answer.fallback_reason.code == "engine_stalled"
    assert bench.noted == [(0, 1)]


def test_gpu_engines_that_the_service_ends_again_and_again_hand_over_to_the_cpu(bench: Bench) -> None:
    ended = [EngineCrashedError("It drifted.", is_ours=True) for _ in range(KILLS_ON_GPU)]
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=ended))

    answer = bench.run(pool)

    assert pool.lent == ["cuda"] * KILLS_ON_GPU + ["cpu"]
    assert answer.fallback_reason is not None
    assert bench.noted == []


def test_service_that_died_before_the_result_was_kept_tells_who_did_the_work_and_not_who_finished(
    bench: Bench,
) -> None:
    bench.run(both())
    again = both()

    answer = bench.run(again, status=gpu_status(NO_DRIVER))

    assert (again.lent, again.engines["cpu"].done) == (["cpu"], [])
    assert (answer.gpu_used, answer.device, answer.compute_type) == (True, "cuda", "float16")
    assert (answer.receipt.device_uuid, answer.receipt.claimed_device) == ("GPU-1", "cuda")
    assert answer.fallback_reason is None


def test_gpu_engines_killed_again_and_again_hand_over_to_the_cpu(bench: Bench) -> None:
    kills = [EngineCrashedError() for _ in range(KILLS_ON_GPU)]
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=kills))

    bench.run(pool)

    assert pool.lent == ["cuda"] * KILLS_ON_GPU + ["cpu"]


def test_second_engine_that_dies_of_itself_ends_the_job(bench: Bench) -> None:
    crashes = [EngineCrashedError("SIGSEGV", is_fault=True), EngineCrashedError("SIGSEGV", is_fault=True)]

    with pytest.raises(EngineCrashedError, match="SIGSEGV") as caught:
        bench.run(both(cpu=FakeEngine("cpu", ("cpu",), errors=list(crashes))), make_job(use_gpu=False))

    assert "2 engines died" in caught.value.message
    assert bench.noted == [(1, 0), (2, 0)]


def test_fault_of_an_earlier_attempt_counts(bench: Bench) -> None:
    pool = both(cpu=FakeEngine("cpu", ("cpu",), errors=[EngineCrashedError("SIGSEGV", is_fault=True)]))

    with pytest.raises(EngineCrashedError):
        bench.run(pool, make_job(use_gpu=False).evolve(engine_faults=1))


def test_job_survives_ten_killed_engines_and_not_eleven(bench: Bench) -> None:
    def killed(times: int) -> FakeEnginePool:
        return both(cpu=FakeEngine("cpu", ("cpu",), errors=[EngineCrashedError() for _ in range(times)]))

    bench.run(killed(10), make_job(use_gpu=False))
    with pytest.raises(EngineCrashedError, match="11 engines were killed"):
        Bench(fresh(bench)).run(killed(11), make_job(use_gpu=False))


def test_resumed_job_decodes_nothing_again_within_one_boot(bench: Bench) -> None:
    bench.run(both())
    bench.run(both())

    assert len(bench.decoder.decoded) == 1


def test_job_with_lost_samples_is_decoded_again(bench: Bench) -> None:
    bench.run(both())
    (bench.folder / "audio.pcm").write_bytes(b"torn")
    bench.run(both())

    assert len(bench.decoder.decoded) == 2


def test_media_child_killed_is_tried_again_unless_a_client_waits(bench: Bench) -> None:
    killed = DecoderCrashedError()
    killed.is_kill = True
    bench.decoder.errors = [killed]
    assert bench.run(both()).duration == 10.0

    waiting = Bench(fresh(bench))
    waiting.decoder.errors = [killed]
    with pytest.raises(DecoderCrashedError):
        waiting.run(both(), make_job().evolve(is_awaited=True))


def test_file_that_crashes_the_decoder_is_not_tried_again(bench: Bench) -> None:
    bench.decoder.errors = [DecoderCrashedError()]

    with pytest.raises(DecoderCrashedError):
        bench.run(both())
    assert len(bench.decoder.decoded) == 1


def test_upload_that_is_gone_ends_the_job(bench: Bench) -> None:
    (bench.folder / "upload").unlink()

    with pytest.raises(UploadGoneError):
        bench.run(both())


def test_gpu_engine_that_does_not_start_hands_over_with_its_code(bench: Bench) -> None:
    pool = FakeEnginePool(
        engines={"cpu": FakeEngine("cpu", ("cpu",))},
        start_error=EngineStartError("libcublas.so.12 is missing.", code="cublas_missing", fix="Install it."),
    )

    answer = bench.run(pool)

    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "cublas_missing"
    assert answer.device == "cpu"


def test_gpu_engine_that_does_not_start_is_an_error_under_required(bench: Bench) -> None:
    pool = FakeEnginePool(engines={}, start_error=EngineStartError("No.", code="cublas_missing", fix="Fix."))

    with pytest.raises(GpuRequiredError):
        bench.run(pool, policy="required")


def test_out_of_memory_on_the_gpu_hands_over_at_once(bench: Bench) -> None:
    error = EngineFailedError("CUDA out of memory", code="out_of_memory", fix="Use a smaller model.")
    pool = both(cuda=FakeEngine("cuda", ("cuda",), errors=[error]))

    answer = bench.run(pool)

    assert pool.lent == ["cuda", "cpu"]
    assert answer.fallback_reason is not None
    assert answer.fallback_reason.code == "cuda_out_of_memory"


def test_cancelled_job_does_not_reach_the_engine(bench: Bench) -> None:
    pool = both()
    bench.cancellation.pull(StopReason.CANCELLED)

    with pytest.raises(JobCancelledError):
        bench.run(pool)

    assert (pool.lent, bench.decoder.decoded) == ([], [])


def test_ignored_parameters_are_named_in_the_warnings(bench: Bench) -> None:
    answer = bench.run(both(), make_job(ignored=("diarize",)))

    assert [(w.code, w.param) for w in answer.warnings] == [("ignored_parameter", "diarize")]


def test_answer_adds_up(bench: Bench) -> None:
    answer = bench.run(both())

    assert answer.text.startswith("Ask not what")
    assert answer.duration == 10.0
    assert (answer.timings.vad, answer.timings.language_detection, answer.timings.transcription) == (
        0.1,
        0.2,
        0.3,
    )


class SplitEngine(FakeEngine):
    """Tells of the second window, which is of another channel, what was said before the end of the first."""

    def transcribe(self, *arguments: Any, **options: Any) -> Iterator[EngineEvent]:
        for event in super().transcribe(*arguments, **options):
            if isinstance(event, SegmentReady):
                at = event.segment.id
                event = SegmentReady(segment=replace(event.segment, start=5.0 - at, end=6.0 - at, channel=at))
            yield event


def test_segments_of_channels_stand_in_their_order_of_time(bench: Bench) -> None:
    engine = SplitEngine("cpu", ("cpu", "cpu"))

    answer = bench.run(FakeEnginePool(engines={"cpu": engine}), make_job(use_gpu=False))

    assert [(one.id, one.start, one.channel) for one in answer.segments] == [(0, 4.0, 1), (1, 5.0, 0)]


def test_what_is_in_doubt_is_marked(bench: Bench) -> None:
    """The stand-in says the same three times in a row."""
    engine = FakeEngine("cpu", ("cpu",) * 3)

    answer = bench.run(FakeEnginePool(engines={"cpu": engine}), make_job(use_gpu=False))

    assert [one.suspect for one in answer.segments] == [("repetition",)] * 3
