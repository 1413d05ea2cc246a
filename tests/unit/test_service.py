"""The use cases over an in-memory store, a real spool and stand-in ports."""

from __future__ import annotations

import concurrent.futures
import queue
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fake_ports import NOW, FakeClock, FakeDecoder, FakeEngine, FakeEnginePool, gpu_status
from transcriber.domain.errors import (
    GpuRequiredError,
    InvalidParameterError,
    JobNotFinishedError,
    JobNotFoundError,
    ModelNotFoundError,
    QueueFullError,
    TranscriberError,
    UndecodableMediaError,
)
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import FallbackReason, Transcription
from transcriber.engine.models import LocalModel
from transcriber.jobs.ids import new_job_id
from transcriber.jobs.memory_store import MemoryJobStore
from transcriber.jobs.output import OutputFolder
from transcriber.jobs.results import FileResultStore
from transcriber.jobs.spool import Spool
from transcriber.service import Service, Storage
from transcriber.transcribing import DevicePlan, Transcriber

REQUEST = TranscriptionRequest(model="base", use_gpu=False, require_gpu=False, options=TranscriptionOptions())


class FakeModels:
    """Three models, as the finder describes them."""

    def find(self, name: str) -> LocalModel:
        if name not in ("base", "tiny.en", "large-v3-turbo"):
            raise ModelNotFoundError(f"no {name}")
        return LocalModel(
            name=name,
            path=Path("/models") / name,
            source="folder",
            repository=None,
            revision=None,
            verified=True,
            can_translate=name == "base",
            is_english_only=name.endswith(".en"),
            size_bytes=1,
        )

    def present(self) -> tuple[LocalModel, ...]:
        return (self.find("base"),)


@dataclass
class Bench:
    """A service and the parts a test looks at."""

    service: Service
    store: MemoryJobStore
    spool: Spool
    output: Path
    decoder: FakeDecoder
    pool: FakeEnginePool

    def send(self, request: TranscriptionRequest = REQUEST) -> Job:
        upload = self.service.begin_upload()
        upload.path.write_bytes(b"audio")
        return self.service.submit(upload, request, file_name="my speech.flac", request_id="r1")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store, decoder = MemoryJobStore(), FakeDecoder()
    pool = FakeEnginePool(engines={"cpu": FakeEngine("cpu", ("cpu",))})
    spool, output = Spool(tmp_path / "spool", 0), tmp_path / "out"
    output.mkdir()
    cause = FallbackReason(code="no_driver", message="There is no driver.", fix="Install it.")
    with concurrent.futures.ThreadPoolExecutor(2) as native:
        service = Service(
            storage=Storage(
                jobs=store,
                results=FileResultStore(tmp_path / "results"),
                spool=spool,
                output=OutputFolder(output),
            ),
            models=FakeModels(),  # type: ignore[arg-type]
            transcriber=Transcriber(
                decoder=decoder,
                engines=pool,
                gpu_status=lambda: gpu_status(cause),
                devices=DevicePlan(policy="preferred", gpu_compute_type="auto", cpu_compute_type="int8"),
                clock=FakeClock(),
            ),
            native=native,
            clock=FakeClock(),
            max_running=1,
            max_queue=2,
        )
        yield Bench(service, store, spool, output, decoder, pool)
        service.close(5)


def test_submitted_job_ends_with_its_transcription(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()

    answer = bench.service.wait(job.id, timeout=10)

    assert answer.device == "cpu"
    assert bench.service.get(job.id).status is JobStatus.SUCCEEDED
    assert bench.service.transcription(job.id) == bench.service.wait(job.id)
    assert bench.service.last_receipt == (job.id, answer.receipt)


def test_finished_job_leaves_nothing_in_the_spool_and_both_files_in_the_output(bench: Bench) -> None:
    bench.service.start()
    job = bench.send()
    bench.service.wait(job.id, timeout=10)
    bench.service.close(5)

    assert not bench.spool.upload_path(job.id).parent.exists()
    assert {path.suffix for path in bench.output.iterdir()} == {".txt", ".json"}


def test_failed_job_tells_everyone_the_same_error(bench: Bench) -> None:
    bench.decoder.error = UndecodableMediaError("Nothing there.")
    bench.service.start()
    job = bench.send()

    with pytest.raises(UndecodableMediaError):
        bench.service.wait(job.id, timeout=10)
    with pytest.raises(TranscriberError) as stored:
        bench.service.transcription(job.id)

    assert stored.value.code == "undecodable_media"
    assert bench.service.get(job.id).status is JobStatus.FAILED


def test_observer_is_told_how_every_job_ended(bench: Bench) -> None:
    ended: queue.Queue[tuple[str, Transcription | None, str | None]] = queue.Queue()
    bench.service.observe_jobs(
        lambda job, transcription, error: ended.put((job.id, transcription, error.code if error else None))
    )
    cancelled = bench.send()
    bench.service.cancel(cancelled.id)
    bench.service.start()
    succeeded = bench.send()
    answer = bench.service.wait(succeeded.id, timeout=10)
    bench.decoder.error = UndecodableMediaError()
    failed = bench.send()

    assert [ended.get(timeout=10) for _ in range(3)] == [
        (cancelled.id, None, "job_cancelled"),
        (succeeded.id, answer, None),
        (failed.id, None, "undecodable_media"),
    ]


def test_waiting_job_can_be_cancelled(bench: Bench) -> None:
    job = bench.send()

    bench.service.cancel(job.id)

    assert bench.service.get(job.id).status is JobStatus.CANCELLED
    assert (bench.decoder.decoded, bench.pool.lent) == ([], [])


def test_unfinished_job_has_no_transcript_yet(bench: Bench) -> None:
    job = bench.send()

    with pytest.raises(JobNotFinishedError):
        bench.service.transcription(job.id)


def test_unknown_job_is_not_found(bench: Bench) -> None:
    with pytest.raises(JobNotFoundError):
        bench.service.get(new_job_id())


def test_full_queue_refuses_before_the_upload_is_read(bench: Bench) -> None:
    for _ in range(3):
        bench.send()

    with pytest.raises(QueueFullError):
        bench.service.begin_upload()


def test_abandoned_upload_leaves_nothing(bench: Bench) -> None:
    upload = bench.service.begin_upload()
    upload.path.write_bytes(b"half a file")

    bench.service.abandon_upload(upload)

    assert not upload.path.parent.exists()


def test_interrupted_job_of_an_earlier_process_fails_with_its_own_code(bench: Bench) -> None:
    job = Job(
        id=new_job_id(),
        status=JobStatus.QUEUED,
        request=REQUEST,
        file_name="x",
        size_bytes=1,
        created_at=NOW,
    )
    bench.store.add(job)

    bench.service.start()

    error = bench.service.get(job.id).error
    assert error is not None
    assert error.code == "interrupted"


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
