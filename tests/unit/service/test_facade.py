"""The use cases over an in-memory store, a real spool and stand-in ports."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service_bench import DEADLINE, REQUEST, WEBHOOK, Bench, eventually
from transcriber.domain.edits import EditedSegment
from transcriber.domain.errors import (
    AudioRoomError,
    EngineCrashedError,
    GpuRequiredError,
    IdempotencyConflictError,
    InvalidParameterError,
    JobCancelledError,
    JobFinishedError,
    JobNotFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    ModelNotFoundError,
    QueueFullError,
    ShuttingDownError,
    StorageFullError,
    TranscriberError,
    TranscriptChangedError,
    UndecodableMediaError,
    UploadGoneError,
)
from transcriber.domain.jobs import DeliveryStatus, Job, JobStatus, SubmissionTerms, Webhook
from transcriber.domain.options import TranscriptionOptions
from transcriber.jobs.files.journal import read
from transcriber.jobs.ids import new_job_id
from transcriber.jobs.queue import Slots
from transcriber.service.execution import MAX_FRUITLESS, MAX_ROOM_TRIES


@pytest.fixture
def native() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def bench(native: concurrent.futures.Executor, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, native)
    yield made
    made.engine.go.set()
    made.decoder.go.set()
    made.service.close(DEADLINE)


# Submitting and ending


def test_upload_on_its_way_is_told_that_the_reserve_is_reached(
    native: concurrent.futures.Executor, tmp_path: Path
) -> None:
    Bench(tmp_path / "roomy", native).service.check_room()

    with pytest.raises(StorageFullError):
        Bench(tmp_path / "full", native, disk_reserve_bytes=2**60).service.check_room()


def test_submitted_job_ends_with_its_transcription(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()

    answer = bench.service.outcome(job.id).result(DEADLINE)

    assert answer.device == "cpu"
    assert bench.service.get(job.id).status is JobStatus.SUCCEEDED
    assert bench.service.get(job.id).duration == 10.0
    assert bench.service.outcome(job.id).result().text == answer.text
    assert bench.service.last_receipt == (job.id, answer.receipt)


def test_finished_job_leaves_its_upload_in_the_spool_and_both_files_in_the_output(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    bench.service.outcome(job.id).result(DEADLINE)
    bench.service.close(DEADLINE)

    assert bench.files(job.id) == {"upload"}
    assert {path.suffix for path in bench.output.iterdir()} == {".txt", ".json"}


def test_failed_job_tells_everyone_the_same_error(bench: Bench) -> None:
    bench.decoder.error = UndecodableMediaError("Nothing there.")
    bench.service.start()
    job = bench.send()

    with pytest.raises(TranscriberError) as live:
        bench.service.outcome(job.id).result(DEADLINE)
    with pytest.raises(TranscriberError) as stored:
        bench.service.transcription(job.id)

    assert live.value.code == stored.value.code == "undecodable_media"
    assert bench.service.get(job.id).status is JobStatus.FAILED


def test_all_who_wait_for_a_job_are_told(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(1)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(bench.service.outcome(job.id).result, DEADLINE) for _ in range(5)]
        bench.let_go()

        texts = {future.result(DEADLINE).text for future in futures}

    assert len(texts) == 1


def test_observer_is_told_how_every_job_ended(bench: Bench) -> None:
    ended: queue.Queue[tuple[str, bool, str | None]] = queue.Queue()
    bench.service.observe_jobs(
        lambda job, transcription, error: ended.put(
            (job.id, transcription is not None, error.code if error else None)
        )
    )
    cancelled = bench.send()
    bench.service.cancel(cancelled.id)
    bench.service.start()
    succeeded = bench.send()
    bench.service.outcome(succeeded.id).result(DEADLINE)
    bench.decoder.error = UndecodableMediaError()
    failed = bench.send()

    assert [ended.get(timeout=DEADLINE) for _ in range(3)] == [
        (cancelled.id, False, "job_cancelled"),
        (succeeded.id, True, None),
        (failed.id, False, "undecodable_media"),
    ]


def test_waiting_may_take_too_long(bench: Bench) -> None:
    job = bench.send()

    with pytest.raises(TimeoutError):
        bench.service.outcome(job.id).result(0.01)


def test_unfinished_job_has_no_transcript_yet(bench: Bench) -> None:
    job = bench.send()

    with pytest.raises(JobNotFinishedError):
        bench.service.transcription(job.id)


def test_unknown_job_is_not_found(bench: Bench) -> None:
    for ask in (bench.service.get, bench.service.view, bench.service.follow, bench.service.outcome):
        with pytest.raises(JobNotFoundError):
            ask(new_job_id())


def test_full_queue_refuses_before_the_upload_is_read_and_says_when_to_come_back(bench: Bench) -> None:
    bench.service.start()
    bench.send_and_hold(1)
    for _ in range(5):
        bench.send()

    with pytest.raises(QueueFullError) as caught:
        bench.service.begin_upload()

    assert 1 <= caught.value.retry_after <= 600


def test_abandoned_upload_leaves_nothing(bench: Bench) -> None:
    upload = bench.service.begin_upload()
    upload.path.write_bytes(b"half a file")

    bench.service.abandon_upload(upload)

    assert not upload.path.parent.exists()


def test_short_job_goes_past_long_ones_in_its_own_lane(
    native: concurrent.futures.Executor, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, native, slots=Slots(long=1, short=1, max_queue=10))
    bench.service.start()
    bench.send_and_hold(1, seconds=3600.0)
    waiting = bench.send(seconds=3600.0)
    bench.engine.hold_at = None
    short = bench.send(seconds=20.0)

    bench.service.outcome(short.id).result(DEADLINE)

    assert bench.service.get(waiting.id).status is JobStatus.QUEUED
    assert bench.engine.lanes == ["long", "short"]
    bench.let_go()
    bench.service.close(DEADLINE)


# What is refused at submission


@pytest.mark.parametrize("model", ["tiny.en", "large-v3-turbo"])
def test_translate_on_a_model_that_cannot_is_refused(bench: Bench, model: str) -> None:
    request = replace(REQUEST, model=model, options=TranscriptionOptions(task="translate"))

    with pytest.raises(InvalidParameterError) as caught:
        bench.send(request)

    assert (caught.value.param, caught.value.code) == ("task", "task_not_supported")


def test_foreign_language_on_an_english_model_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        bench.send(replace(REQUEST, model="tiny.en", options=TranscriptionOptions(language="fr")))

    assert caught.value.code == "language_not_supported"


def test_required_gpu_is_refused_at_submission(bench: Bench) -> None:
    with pytest.raises(GpuRequiredError) as caught:
        bench.send(replace(REQUEST, use_gpu=True, require_gpu=True))

    assert "There is no driver" in caught.value.message


def test_unknown_model_is_refused_at_submission(bench: Bench) -> None:
    with pytest.raises(ModelNotFoundError):
        bench.send(replace(REQUEST, model="huge"))


def test_webhook_that_cannot_be_delivered_to_is_refused_at_submission(bench: Bench) -> None:
    with pytest.raises(InvalidParameterError):
        bench.send(webhook=Webhook(url="http://127.0.0.1/"))

    assert bench.service.counts()[JobStatus.QUEUED] == 0


# Idempotency


def test_same_key_is_the_same_job_and_leaves_one_upload(bench: Bench) -> None:
    first = bench.send(idempotency_key="k", fingerprint="f")
    second = bench.send(idempotency_key="k", fingerprint="f")

    assert second.id == first.id
    assert bench.spool.ids() == {first.id}
    assert bench.service.queue_size == 1


def test_same_key_for_something_else_is_refused(bench: Bench) -> None:
    bench.send(idempotency_key="k", fingerprint="f")

    with pytest.raises(IdempotencyConflictError):
        bench.send(idempotency_key="k", fingerprint="g")
    with pytest.raises(IdempotencyConflictError):
        bench.service.find_submitted("k", "g")
    assert bench.service.find_submitted("other", "g") is None


def test_same_key_at_the_same_moment_makes_one_job(
    native: concurrent.futures.Executor, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, native, slots=Slots(long=1, short=0, max_queue=100))
    together = threading.Barrier(16)

    def send() -> str:
        upload = bench.service.begin_upload()
        upload.path.write_bytes(b"audio")
        together.wait(DEADLINE)
        terms = SubmissionTerms(idempotency_key="k", fingerprint="f")
        return bench.service.submit(upload, REQUEST, file_name="a", request_id="r", terms=terms).id

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ids = {future.result() for future in [pool.submit(send) for _ in range(16)]}

    assert len(ids) == 1
    assert bench.spool.ids() == ids
    assert bench.service.queue_size == 1
    assert bench.service.counts()[JobStatus.QUEUED] == 1


# Cancelling


def test_waiting_job_is_cancelled_with_its_files(bench: Bench) -> None:
    job = bench.send(webhook=WEBHOOK)

    cancelled = bench.service.cancel(job.id)

    assert (cancelled.status, cancelled.has_upload) == (JobStatus.CANCELLED, False)
    assert (bench.decoder.decoded, bench.pool.lent, bench.files(job.id)) == ([], [], set())
    assert [delivery.payload.split()[0] for delivery in bench.store.outbox.of_job(job.id)] == ["cancelled"]
    with pytest.raises(JobCancelledError):
        bench.service.outcome(job.id).result()


def test_cancelled_job_that_waited_is_not_run_later(bench: Bench) -> None:
    job = bench.send()
    bench.service.cancel(job.id)
    other = bench.send()
    bench.service.start()

    bench.service.outcome(other.id).result(DEADLINE)

    assert bench.service.get(job.id).attempts == 0


def test_job_is_cancelled_while_it_is_decoded(bench: Bench) -> None:
    bench.decoder.holds = True
    bench.service.start()
    job = bench.send()
    assert bench.decoder.held.acquire(timeout=DEADLINE)

    assert bench.service.cancel(job.id).status is JobStatus.CANCELLED

    assert eventually(lambda: bench.files(job.id) == set())
    assert bench.pool.lent == []


def test_job_is_cancelled_while_the_engine_works_on_it(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(2, webhook=WEBHOOK)

    assert bench.service.cancel(job.id).status is JobStatus.CANCELLED

    assert bench.engine.cancelled == [job.id]
    assert eventually(lambda: bench.files(job.id) == set())
    assert bench.engine.done == [(job.id, 0), (job.id, 1)]
    assert len(tuple(bench.store.outbox.of_job(job.id))) == 1
    with pytest.raises(TranscriberError) as stored:
        bench.service.transcription(job.id)
    assert stored.value.code == "job_cancelled"


def test_job_is_cancelled_while_it_is_looked_at(native: concurrent.futures.Executor, tmp_path: Path) -> None:
    bench = Bench(tmp_path, native, slots=Slots(long=1, short=1, max_queue=10))
    bench.service.start()
    bench.send_and_hold(1)
    bench.decoder.holds = True
    job = bench.send()
    assert bench.decoder.held.acquire(timeout=DEADLINE)

    bench.service.cancel(job.id)

    assert eventually(lambda: bench.files(job.id) == set())
    bench.let_go()
    bench.service.close(DEADLINE)
    assert bench.service.get(job.id).attempts == 0


def test_job_that_is_looked_at_while_the_service_stops_keeps_its_upload_and_runs_after_the_restart(
    native: concurrent.futures.Executor, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, native, slots=Slots(long=1, short=1, max_queue=10))
    bench.service.start()
    bench.send_and_hold(1)
    bench.decoder.holds = True
    job = bench.send()
    assert bench.decoder.held.acquire(timeout=DEADLINE)

    bench.service.close(DEADLINE)
    left = bench.files(job.id)
    bench.decoder.holds = False
    bench.engine.go.set()
    bench.restart()

    assert "upload" in left
    assert bench.service.outcome(job.id).result(DEADLINE).segments
    bench.service.close(DEADLINE)


def test_those_who_wait_for_a_cancelled_job_are_told_at_once(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(bench.service.outcome(job.id).result, DEADLINE)
        bench.service.cancel(job.id)

        with pytest.raises(TranscriberError) as caught:
            future.result(DEADLINE)

    assert caught.value.code == "job_cancelled"


def test_next_job_runs_after_a_cancelled_one(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(1)
    bench.engine.hold_at = None
    other = bench.send()

    bench.service.cancel(job.id)

    assert bench.service.outcome(other.id).result(DEADLINE).device == "cpu"


def test_job_that_has_ended_cannot_be_cancelled(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    bench.service.outcome(job.id).result(DEADLINE)

    with pytest.raises(JobFinishedError):
        bench.service.cancel(job.id)


# Retrying and purging


def test_failed_job_is_retried_with_its_upload(bench: Bench) -> None:
    bench.decoder.errors = [UndecodableMediaError()]
    bench.service.start()
    job = bench.send()
    bench.until(job.id, JobStatus.FAILED)

    retried = bench.service.retry(job.id)

    assert (retried.id, retried.status, retried.error) == (job.id, JobStatus.QUEUED, None)
    assert bench.service.outcome(job.id).result(DEADLINE).device == "cpu"
    assert bench.service.get(job.id).attempts == 2


def test_audio_that_never_fits_ends_after_some_tries_and_may_be_retried(bench: Bench) -> None:
    bench.decoder.errors = [AudioRoomError() for _ in range(2 * MAX_ROOM_TRIES)]
    bench.service.start()
    job = bench.send()

    bench.until(job.id, JobStatus.FAILED)

    failed = bench.service.get(job.id)
    assert (failed.status, failed.error and failed.error.code) == (JobStatus.FAILED, "audio_does_not_fit")
    assert len(bench.decoder.decoded) in (MAX_ROOM_TRIES, MAX_ROOM_TRIES + 1)  # with a look before or not
    bench.decoder.errors = []
    bench.service.retry(job.id)
    bench.until(job.id, JobStatus.SUCCEEDED)


def test_audio_that_fits_once_there_is_room_again_succeeds(bench: Bench) -> None:
    bench.decoder.errors = [AudioRoomError() for _ in range(MAX_ROOM_TRIES - 1)]
    bench.service.start()
    job = bench.send()

    bench.until(job.id, JobStatus.SUCCEEDED)


def test_job_is_not_retried_without_a_failure_or_an_upload(bench: Bench) -> None:
    bench.decoder.errors = [UndecodableMediaError()]
    bench.service.start()
    failed, fine = bench.send(), bench.send()
    bench.until(failed.id, JobStatus.FAILED)
    bench.until(fine.id, JobStatus.SUCCEEDED)
    bench.store.note_upload_removed(failed.id)

    with pytest.raises(UploadGoneError):
        bench.service.retry(failed.id)
    with pytest.raises(JobNotFailedError):
        bench.service.retry(fine.id)


def test_purged_job_is_gone_with_all_its_files(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    with pytest.raises(JobNotFinishedError):
        bench.engine.hold_at = 0
        bench.service.purge(bench.send_and_hold(0).id)
    bench.let_go()
    bench.service.outcome(job.id).result(DEADLINE)

    bench.service.purge(job.id)

    with pytest.raises(JobNotFoundError):
        bench.service.get(job.id)
    assert bench.files(job.id) == set()
    assert bench.results.find(job.id) is None


# Webhooks


def test_end_of_a_job_and_its_message_are_one(bench: Bench) -> None:
    bench.service.start()
    job = bench.send(webhook=WEBHOOK)
    answer = bench.service.outcome(job.id).result(DEADLINE)

    [delivery] = tuple(bench.store.outbox.of_job(job.id))

    assert delivery.payload == f"succeeded {answer.text}"
    assert delivery.status is DeliveryStatus.PENDING
    assert eventually(lambda: bench.wakes)
    assert bench.service.view(job.id).deliveries == (delivery,)


# Restarts


def test_running_job_goes_on_after_a_restart_where_it_was(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(3)
    bench.engine.hold_at = None

    bench.restart()
    answer = bench.service.outcome(job.id).result(DEADLINE)

    # Window 2 was told, and not yet known to be whole.
    assert [index for _, index in bench.engine.done] == [0, 1, 2, 2, 3]
    assert [segment.id for segment in answer.segments] == [0, 1, 2, 3]
    assert bench.service.get(job.id).attempts == 2
    assert answer.receipt.windows_total == 4
    assert bench.decoder.decoded == [job.id]


def test_killed_service_s_jobs_all_end_once(bench: Bench) -> None:
    bench.service.start()
    jobs = [bench.send_and_hold(2, webhook=WEBHOOK), *(bench.send(webhook=WEBHOOK) for _ in range(3))]
    before = read(bench.spool.journal_path(jobs[0].id))

    bury = bench.kill()
    answers = [bench.service.outcome(job.id).result(DEADLINE) for job in jobs]
    bury()

    assert len(before.windows) >= 1
    assert [len(answer.segments) for answer in answers] == [4] * 4
    assert [len(tuple(bench.store.outbox.of_job(job.id))) for job in jobs] == [1] * 4
    assert bench.service.counts()[JobStatus.SUCCEEDED] == 4


def test_late_attempt_of_a_killed_service_changes_nothing(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(2, webhook=WEBHOOK)
    bury = bench.kill()
    answer = bench.service.outcome(job.id).result(DEADLINE)

    bury()

    assert bench.service.get(job.id).status is JobStatus.SUCCEEDED
    assert bench.service.transcription(job.id).text == answer.text
    assert len(tuple(bench.store.outbox.of_job(job.id))) == 1


def test_resumed_job_s_text_is_that_of_an_untouched_one(bench: Bench) -> None:
    bench.service.start()
    untouched = bench.service.outcome(bench.send().id).result(DEADLINE)
    for at in range(4):
        bench.engine.go.clear()
        job = bench.send_and_hold(at)
        bench.engine.hold_at = None
        bench.restart()

        assert bench.service.outcome(job.id).result(DEADLINE).segments == untouched.segments


def test_queued_jobs_run_in_order_after_a_restart(bench: Bench) -> None:
    jobs = [bench.send(), bench.send(priority=-1), bench.send(), bench.send(priority=9)]

    bench.restart()
    for job in jobs:
        bench.service.outcome(job.id).result(DEADLINE)

    order = list(dict.fromkeys(job_id for job_id, _ in bench.engine.done))
    assert order == [jobs[3].id, jobs[0].id, jobs[2].id, jobs[1].id]


def test_awaited_jobs_are_cancelled_by_a_restart(bench: Bench) -> None:
    bench.service.start()
    jobs = [bench.send_and_hold(1, is_awaited=True), bench.send(is_awaited=True)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(bench.service.outcome(job.id).result, DEADLINE) for job in jobs]
        bench.restart()
        errors = [future.exception(DEADLINE) for future in waits]

    assert [type(error) for error in errors] == [ShuttingDownError, ShuttingDownError]
    for job in jobs:
        ended = bench.service.get(job.id)
        assert ended.status is JobStatus.CANCELLED
        assert ended.error is not None
        assert ended.error.code == "interrupted"
        assert bench.files(job.id) == set()


def test_awaited_jobs_of_a_killed_service_are_cancelled_at_the_next_start(bench: Bench) -> None:
    bench.service.start()
    jobs = [bench.send_and_hold(1, is_awaited=True), bench.send(is_awaited=True)]

    bury = bench.kill()
    bury()

    assert [bench.service.get(job.id).status for job in jobs] == [JobStatus.CANCELLED] * 2
    assert [error.code for job in jobs if (error := bench.service.get(job.id).error)] == ["interrupted"] * 2


def test_folders_without_a_row_are_swept_at_start(bench: Bench) -> None:
    stray = bench.service.begin_upload()
    stray.path.write_bytes(b"half a file")
    job = bench.send()

    bench.restart()
    bench.service.outcome(job.id).result(DEADLINE)

    assert bench.spool.ids() == {job.id}


def test_job_whose_upload_is_gone_fails_and_does_not_loop(bench: Bench) -> None:
    job = bench.send()
    bench.spool.remove(job.id)

    bench.service.start()
    ended = bench.until_ended(job.id)

    assert ended.error is not None
    assert ended.error.code == "upload_gone"


def test_job_that_ends_the_service_again_and_again_is_given_up(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(0)
    buries = []
    for _ in range(MAX_FRUITLESS - 1):
        buries.append(bench.kill(hold_at=0))
        assert bench.engine.held.acquire(timeout=DEADLINE)
    assert bench.service.get(job.id).status is JobStatus.RUNNING

    buries.append(bench.kill(hold_at=0))
    ended = bench.until_ended(job.id)
    for bury in buries:
        bury()

    assert ended.error is not None
    assert ended.error.code == "too_many_attempts"


def test_stopping_service_takes_nothing_and_hands_back_what_runs(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(2)
    bench.service.close(DEADLINE)

    assert bench.service.get(job.id).status is JobStatus.QUEUED
    assert "journal" in bench.files(job.id)
    with pytest.raises(ShuttingDownError):
        bench.service.begin_upload()
    with pytest.raises(ShuttingDownError):
        bench.service.outcome(job.id).result(DEADLINE)


# Faults of engines, disks and time


def test_engine_that_dies_twice_of_itself_fails_the_job_with_the_cause(bench: Bench) -> None:
    bench.engine.errors = [EngineCrashedError("It died of SIGSEGV", is_fault=True) for _ in range(2)]
    bench.service.start()

    ended = bench.until_ended(bench.send().id)

    assert ended.error is not None
    assert ended.error.code == "engine_crashed"
    assert "SIGSEGV" in ended.error.message
    assert (ended.engine_faults, ended.engine_kills) == (2, 0)


def test_engine_faults_are_remembered_over_a_restart(bench: Bench) -> None:
    bench.engine.errors = [EngineCrashedError("SIGSEGV", is_fault=True)]
    bench.service.start()
    job = bench.send_and_hold(1)
    assert bench.service.get(job.id).engine_faults == 1

    bench.engine.errors = [EngineCrashedError("SIGSEGV", is_fault=True)]
    bench.engine.error_at, bench.engine.hold_at = 3, None
    bench.restart()

    assert bench.until_ended(job.id).status is JobStatus.FAILED


def test_killed_engines_do_not_fail_the_job(bench: Bench) -> None:
    bench.engine.errors = [EngineCrashedError("SIGKILL") for _ in range(10)]
    bench.service.start()
    job = bench.send()

    assert bench.service.outcome(job.id).result(DEADLINE).receipt.attempts == 11
    assert bench.service.get(job.id).engine_kills == 10


def test_engines_that_the_service_ends_are_not_counted_against_the_job(bench: Bench) -> None:
    bench.engine.errors = [EngineCrashedError("It drifted.", is_ours=True) for _ in range(25)]
    bench.service.start()
    job = bench.send()

    assert bench.service.outcome(job.id).result(DEADLINE).receipt.attempts == 26
    ended = bench.service.get(job.id)
    assert (ended.engine_faults, ended.engine_kills) == (0, 0)


@pytest.mark.parametrize("broken", ["claim", "finish", "requeue"])
@pytest.mark.parametrize("lies", [False, True])
def test_job_survives_a_store_that_fails_for_a_while(bench: Bench, broken: str, lies: bool) -> None:
    bench.store.failures = {broken: 2}
    bench.store.lies = {broken} if lies else set()
    bench.results.failures = 1 if broken == "requeue" else 0
    bench.service.start()
    job = bench.send(webhook=WEBHOOK)

    assert bench.until_ended(job.id).status is JobStatus.SUCCEEDED
    assert len(tuple(bench.store.outbox.of_job(job.id))) == 1
    assert bench.service.transcription(job.id).segments[-1].id == 3


def test_result_that_cannot_be_written_is_tried_again_without_doing_the_work_again(bench: Bench) -> None:
    bench.results.failures = 3
    bench.service.start()
    job = bench.send()

    assert bench.until_ended(job.id).status is JobStatus.SUCCEEDED
    assert bench.engine.done == [(job.id, index) for index in range(4)]


def test_awaited_job_is_told_of_a_broken_disk_at_once(bench: Bench) -> None:
    bench.results.failures = 1
    bench.service.start()
    job = bench.send(is_awaited=True)

    with pytest.raises(TranscriberError) as caught:
        bench.service.outcome(job.id).result(DEADLINE)

    assert caught.value.code == "storage_failed"
    assert bench.until_ended(job.id).status is JobStatus.FAILED


def test_job_that_takes_too_long_fails(native: concurrent.futures.Executor, tmp_path: Path) -> None:
    bench = Bench(tmp_path, native, job_timeout_seconds=0.01)
    bench.service.start()
    job = bench.send_and_hold(1)

    ended = bench.until_ended(job.id)
    bench.service.close(DEADLINE)

    assert ended.error is not None
    assert ended.error.code == "job_timeout"
    assert bench.engine.cancelled == [job.id]


# Looking on


def test_view_of_a_running_job_shows_how_far_it_is(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(3)
    view = bench.service.view(job.id)

    assert view.progress is not None
    assert (view.progress.percent, view.progress.stage, view.progress.windows_done) == (
        75.0,
        "transcribing",
        3,
    )
    assert [segment.id for segment in view.segments] == [0, 1, 2]
    assert view.progress.seconds_left is not None
    assert view.place is None


def test_view_of_waiting_jobs_shows_their_places(bench: Bench) -> None:
    jobs = [bench.send(), bench.send(), bench.send(priority=1)]

    places = [bench.service.view(job.id).place for job in jobs]

    assert [place.position for place in places if place] == [2, 3, 1]
    assert all(place is not None and place.seconds is not None for place in places)


def test_view_of_a_job_that_was_handed_back_shows_its_segments(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(3)
    bench.service.close(DEADLINE)
    bench.service = bench.make()

    assert [segment.id for segment in bench.service.view(job.id).segments] == [0, 1]


def test_follower_hears_segments_progress_and_the_end(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()

    events = [event for event in bench.service.follow(job.id) if event]

    assert [event.number for event in events if event.kind == "segment"] == [1, 2, 3, 4]
    assert (events[-1].kind, events[-1].number, events[-1].data["device"]) == ("done", 5, "cpu")


def test_follower_of_a_finished_job_hears_the_same(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    live = [event for event in bench.service.follow(job.id) if event and event.number]
    bench.service.outcome(job.id).result(DEADLINE)

    assert list(bench.service.follow(job.id)) == live
    assert [event.number for event in bench.service.follow(job.id, after=3) if event] == [4, 5]


def test_follower_that_comes_back_after_a_restart_misses_nothing(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(3)
    numbers: list[int] = []
    before = bench.service.follow(job.id)
    while len(numbers) < 2:
        event = next(before)
        if event is not None and event.number:
            numbers.append(event.number)
    bench.engine.hold_at = None

    bench.restart()
    after = bench.service.follow(job.id, after=numbers[-1])
    numbers += [event.number for event in after if event is not None and event.number]

    assert numbers == [1, 2, 3, 4, 5]


def test_follower_of_a_waiting_job_hears_its_place(bench: Bench) -> None:
    first, job = bench.send(), bench.send()
    events = bench.service.follow(job.id)

    place = next(events)
    assert place is not None
    assert (place.kind, place.data["status"], place.data["position"]) == ("progress", "queued", 2)
    assert next(events) is None, "nothing has changed"

    bench.service.cancel(first.id)
    moved = next(event for event in events if event)
    assert moved.data["position"] == 1


def test_followers_of_a_cancelled_job_are_told(bench: Bench) -> None:
    job = bench.send()
    events = bench.service.follow(job.id)
    next(events)

    bench.service.cancel(job.id)

    last = [event for event in events if event][-1]
    assert (last.kind, last.data["status"], last.data["error"]["code"]) == (
        "error",
        "cancelled",
        "job_cancelled",
    )
    assert [event.data for event in bench.service.follow(job.id) if event] == [last.data]


def test_followers_go_when_the_service_stops(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(2)
    events = bench.service.follow(job.id)
    next(events)

    bench.service.stop()

    assert not any(event.is_last for event in events if event)


def test_jobs_are_paged_newest_first(bench: Bench) -> None:
    jobs = [bench.send() for _ in range(3)]

    page = bench.service.page(limit=2)

    assert [job.id for job in page.jobs] == [jobs[2].id, jobs[1].id]
    assert [job.id for job in bench.service.page(before=page.next_before).jobs] == [jobs[0].id]


def test_unforeseen_failure_is_an_error_with_an_answer(bench: Bench) -> None:
    bench.decoder.errors = [ZeroDivisionError("a bug")]  # type: ignore[list-item]
    bench.service.start()
    job: Job = bench.send()

    ended = bench.until_ended(job.id)

    assert ended.error is not None
    assert ended.error.code == "internal_error"
    assert job.id in ended.error.fix


# Finished transcripts


def test_job_is_tried_again_with_another_model_over_the_same_upload(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    bench.service.outcome(job.id).result(DEADLINE)
    bench.service.rename(job.id, "Interview")

    again = bench.service.retry_with(job.id, replace(REQUEST, model="large-v3-turbo"), request_id="r-2")

    assert bench.service.outcome(again.id).result(DEADLINE).model == "large-v3-turbo"
    stored = bench.service.get(again.id)
    assert (stored.retry_of, stored.title, stored.file_name) == (job.id, "Interview", job.file_name)
    bench.service.purge(job.id)
    media = bench.service.find_media(again.id)
    assert media is not None and media.stat().st_size > 0


def test_what_can_not_be_tried_again_leaves_no_folder(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    bench.service.outcome(job.id).result(DEADLINE)
    folders = bench.spool.ids()

    with pytest.raises(ModelNotFoundError):
        bench.service.retry_with(job.id, replace(REQUEST, model="none"), request_id="r")
    bench.spool.remove(job.id)
    with pytest.raises(UploadGoneError):
        bench.service.retry_with(job.id, REQUEST, request_id="r")

    assert bench.spool.ids() == folders - {job.id}
    assert bench.service.find_media(job.id) is None


def test_running_job_is_not_tried_again(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_and_hold(1)

    with pytest.raises(JobNotFinishedError):
        bench.service.retry_with(job.id, REQUEST, request_id="r")


def test_transcript_is_found_edited_and_restored(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    original = bench.service.outcome(job.id).result(DEADLINE)
    word = original.text.split()[0]

    assert [one.id for one in bench.service.page(search=word).jobs] == [job.id]
    edited = bench.service.transcripts.save(job.id, 0, [EditedSegment(start=0, end=1, text="Quite other")])
    assert (
        edited.transcription.text == "Quite other"
        and bench.service.transcription(job.id).text == original.text
    )
    assert [one.id for one in bench.service.page(search="quite").jobs] == [job.id]
    with pytest.raises(TranscriptChangedError):
        bench.service.transcripts.restore(job.id, 0)
    bench.service.transcripts.restore(job.id, 1)

    assert bench.service.transcripts.get(job.id).transcription.segments == original.segments
    assert bench.service.page(search="quite").jobs == ()


def test_transcripts_of_earlier_versions_are_indexed_once(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    original = bench.service.outcome(job.id).result(DEADLINE)
    bench.store.transcripts.drop(job.id)

    assert bench.service.transcripts.index_old(lambda: False) == 1
    assert bench.service.transcripts.index_old(lambda: False) == 0
    assert bench.service.page(search=original.text.split()[0]).jobs


def test_damaged_result_is_not_tried_for_ever(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    bench.service.outcome(job.id).result(DEADLINE)
    bench.store.transcripts.drop(job.id)
    (path,) = (bench.folder / "results").glob("*.json")
    path.write_text("{")

    assert bench.service.transcripts.index_old(lambda: False) == 1
    assert bench.store.transcripts.unindexed() == []
