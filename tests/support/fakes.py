"""Stand-ins for the service behind the web pages: real values, a real spool folder, no engine."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from transcriber.config import loader
from transcriber.domain.answer import segment_to_dict
from transcriber.domain.errors import (
    IdempotencyConflictError,
    JobCancelledError,
    JobFinishedError,
    JobNotFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    ModelNotFoundError,
    TranscriberError,
    UploadGoneError,
)
from transcriber.domain.errors.stored import kept, restored
from transcriber.domain.feed import FeedEvent
from transcriber.domain.jobs import (
    Delivery,
    Job,
    JobError,
    JobProgress,
    JobStatus,
    QueuePlace,
    SubmissionTerms,
)
from transcriber.domain.options import TranscriptionRequest
from transcriber.domain.ports import JobPage
from transcriber.domain.selftest import SelfTestReport, Step
from transcriber.domain.transcript import DeviceFacts, Notice, Segment, Transcription
from transcriber.engine.selftest.health_check import HealthFinding
from transcriber.jobs.active_job import progress_data
from transcriber.jobs.files.resumable import ResumableUploads
from transcriber.jobs.files.spool import Spool
from transcriber.jobs.ids import new_job_id
from transcriber.jobs.store.full_text import find_in, parse_query
from transcriber.jobs.store.memory_keys import MemoryKeys
from transcriber.jobs.store.memory_transcripts import MemoryTranscripts
from transcriber.models.finder import LocalModel
from transcriber.observability.diagnostics import Diagnostics
from transcriber.observability.metrics import Metrics
from transcriber.observability.stages import stages
from transcriber.service.job_queries import JobView
from transcriber.service.keys import KeyRing
from transcriber.service.ports import JobService
from transcriber.service.submission import Upload
from transcriber.service.transcript_editing import TranscriptEditing
from transcriber.system.clock import SystemClock
from transcriptions import make_segment, make_transcription

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeService(JobService):
    """Every upload becomes the same transcription, or the error it is told.

    With `release` set, a job ends as soon as it is submitted; else it waits for a test to `finish` it, or to
    release it. A test plays a running job with `start`, `progress` and `say`.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.jobs: dict[str, Job] = {}
        self.received: dict[str, bytes] = {}
        #: Recordings of known speakers, by the id of the upload that they came with.
        self.references: dict[str, list[bytes]] = {}
        self.results: dict[str, Transcription] = {}
        self.segments: dict[str, list[Segment]] = {}
        self.progresses: dict[str, JobProgress] = {}
        self.outbox: dict[str, tuple[Delivery, ...]] = {}
        self.feeds: dict[str, list[FeedEvent]] = {}
        #: Raised by begin_upload, by check_room, by submit, where the store is asked for a job, and as the job's own error.
        self.begin_error: TranscriberError | None = None
        self.room_error: TranscriberError | None = None
        #: Raised by check_queue, one after the other.
        self.queue_errors: list[TranscriberError] = []
        self.submit_error: TranscriberError | None = None
        self.store_error: TranscriberError | None = None
        self.job_error: TranscriberError | None = None
        self.answer = make_transcription(
            make_segment(), make_segment(id=1, start=2.5, end=4.0, text=" Ask <b>more</b>.")
        )
        #: Jobs end once this is set.
        self.release = threading.Event()
        self.release.set()
        #: How long follow() is silent before it says that it is still there.
        self.heartbeat_seconds = 10.0
        #: Real ones, in the same folder.
        self.resumable = ResumableUploads(
            spool=Spool(spool, 0),
            native=ThreadPoolExecutor(1),
            keep=timedelta(hours=24),
            begin=lambda size, owner: self.begin_upload(expected_bytes=size, owner=owner).job_id,
            is_job=self.is_stored,
            clock=SystemClock(),
        )
        self._changed = threading.Condition()
        self._is_stopped = False
        self._texts = MemoryTranscripts(lambda: list(self.results))
        #: The real thing over texts in memory.
        self.transcripts = TranscriptEditing(
            FakeStorage(self._texts),  # type: ignore[arg-type]
            self.transcription,
            SystemClock(),
        )

    def begin_upload(self, *, expected_bytes: int = 0, owner: str | None = None) -> Upload:
        if self.begin_error is not None:
            raise self.begin_error
        job_id = new_job_id()
        folder = self.spool / job_id
        folder.mkdir()
        return Upload(job_id=job_id, path=folder / "upload")

    def is_stored(self, job_id: str) -> bool:
        if self.store_error is not None:
            raise self.store_error
        return job_id in self.jobs

    def check_queue(self, owner: str | None) -> None:
        if self.queue_errors:
            raise self.queue_errors.pop()

    def check_room(self) -> None:
        if self.room_error is not None:
            raise self.room_error

    def add_reference(self, upload: Upload, number: int, recording: bytes) -> None:
        self.references.setdefault(upload.job_id, []).insert(number, recording)

    def abandon_upload(self, upload: Upload) -> None:
        shutil.rmtree(upload.path.parent)

    def submit(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        terms: SubmissionTerms = SubmissionTerms(),  # noqa: B008  a frozen value
    ) -> Job:
        if self.submit_error is not None:
            raise self.submit_error
        self.received[upload.job_id] = upload.path.read_bytes()
        self._kept(upload.job_id).write_bytes(self.received[upload.job_id])
        job = self.add_job(
            upload.job_id, request, file_name=file_name, request_id=request_id, **_fields_of(terms)
        )
        shutil.rmtree(upload.path.parent)
        if self.release.is_set():
            self.finish(job.id)
        else:
            threading.Thread(target=self._finish_when_released, args=(job.id,), daemon=True).start()
        return self.jobs[job.id]

    def find_submitted(self, idempotency_key: str, fingerprint: str | None) -> Job | None:
        found = next((job for job in self.jobs.values() if job.idempotency_key == idempotency_key), None)
        if found is not None and found.fingerprint != fingerprint:
            raise IdempotencyConflictError()
        return found

    def add_job(self, job_id: str, request: TranscriptionRequest, **changes: Any) -> Job:
        """A job row, for tests that need one without an upload."""
        values: dict[str, Any] = {
            "id": job_id,
            "status": JobStatus.QUEUED,
            "request": request,
            "file_name": "speech.flac",
            "size_bytes": len(self.received.get(job_id, b"")),
            "created_at": NOW,
            "number": len(self.jobs) + 1,
        }
        job = Job(**(values | changes))
        with self._changed:
            self.jobs[job_id] = job
            self.segments[job_id] = []
            self.feeds[job_id] = []
            self._changed.notify_all()
        return job

    def start(self, job_id: str) -> None:
        """queued → running."""
        self._change(job_id, status=JobStatus.RUNNING, started_at=NOW, attempts=1)

    def progress(self, job_id: str, percent: float, *, stage: str = "transcribing") -> None:
        """The job got this far."""
        now = JobProgress(
            percent=percent,
            stage=stage,
            seconds_left=12.0,
            windows_done=1,
            segments=0,
            language="en",
            device="cpu" if stage == "transcribing" else None,
        )
        self.progresses[job_id] = now
        self._tell(job_id, FeedEvent(kind="progress", data=progress_data(JobStatus.RUNNING, now, None)))

    def say(self, job_id: str, text: str) -> None:
        """The job's next segment."""
        number = len(self.segments[job_id])
        segment = make_segment(id=number, start=2.5 * number, end=2.5 * number + 2.5, text=text)
        self.segments[job_id].append(segment)
        self._tell(job_id, FeedEvent(kind="segment", data=segment_to_dict(segment), number=number + 1))

    def finish(self, job_id: str) -> None:
        """The job ends well, or with job_error; one that has ended already stays as it is."""
        job = self.jobs[job_id]
        if job.status.is_final:
            return
        if self.job_error is not None:
            self._end(job_id, JobStatus.FAILED, kept(self.job_error))
            return
        ignored = tuple(
            Notice(code="ignored_parameter", message=f"{name} has no effect.", param=name)
            for name in job.request.ignored
        )
        said = self.segments[job_id] or list(self.answer.segments)
        for segment in () if self.segments[job_id] else said:
            data = segment_to_dict(segment)
            self._tell(job_id, FeedEvent(kind="segment", data=data, number=segment.id + 1))
        self.segments[job_id] = said
        self.results[job_id] = replace(
            self.answer,
            job_id=job_id,
            model=job.request.model,
            warnings=ignored,
            segments=tuple(said),
            text="".join(segment.text for segment in said).strip(),
        )
        self._end(job_id, JobStatus.SUCCEEDED, None)

    def stop(self) -> None:
        """The service stops: streams end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def resume(self) -> None:
        """The service is back."""
        self._is_stopped = False

    def outcome(self, job_id: str) -> FakeOutcome:
        return FakeOutcome(self, job_id)

    def wait(self, job_id: str, timeout: float | None) -> Transcription:
        with self._changed:
            if not self._changed.wait_for(lambda: self.jobs[job_id].status.is_final, timeout or 30):
                raise TimeoutError
        return self.transcription(job_id)

    def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise JobNotFoundError()
        return self.jobs[job_id]

    def find(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def give_up(self, job_id: str) -> None:
        if not self.jobs[job_id].status.is_final:
            self.cancel(job_id)

    def view(self, job_id: str) -> JobView:
        job = self.get(job_id)
        waiting = [one.id for one in self.jobs.values() if one.status is JobStatus.QUEUED]
        place = QueuePlace(position=waiting.index(job_id) + 1, seconds=30.0) if job_id in waiting else None
        return JobView(
            job=job,
            progress=self.progresses.get(job_id) if job.status is JobStatus.RUNNING else None,
            place=place,
            segments=() if job.status.is_final else tuple(self.segments[job_id]),
            deliveries=self.outbox.get(job_id, ()),
        )

    def page(
        self,
        *,
        statuses: tuple[JobStatus, ...] = (),
        before: int | None = None,
        limit: int = 50,
        search: str = "",
        owner: str | None = None,
    ) -> JobPage:
        found = [
            job
            for job in sorted(self.jobs.values(), key=lambda job: -job.number)
            if (not statuses or job.status in statuses)
            and (before is None or job.number < before)
            and owner in (None, job.owner)
        ]
        query = parse_query(search)
        hits = {
            job.id: query and find_in(self.transcripts.get(job.id).transcription.text, query)
            for job in found
            if job.id in self.results
        }
        if search:
            found = [job for job in found if hits.get(job.id) or search in job.name]
        shown = tuple(found[:limit])
        return JobPage(
            jobs=shown,
            next_before=shown[-1].number if len(found) > limit else None,
            excerpts={job.id: hit for job in shown if (hit := hits.get(job.id))},
        )

    def rename(self, job_id: str, title: str) -> Job:
        self.get(job_id)
        return self._change(job_id, title=title)

    def find_media(self, job_id: str) -> Path | None:
        path = self._kept(job_id)
        return path if self.get(job_id).has_upload and path.exists() else None

    def _kept(self, job_id: str) -> Path:
        """Where an upload lies once it is a job's; `spool` stays empty for tests that look."""
        folder = self.spool.with_name("kept")
        folder.mkdir(exist_ok=True)
        return folder / job_id

    def retry_with(self, job_id: str, request: TranscriptionRequest, *, request_id: str) -> Job:
        job = self.get(job_id)
        if not job.status.is_final:
            raise JobNotFinishedError()
        if not job.has_upload:
            raise UploadGoneError()
        again = self.add_job(
            new_job_id(), request, file_name=job.file_name, title=job.title, retry_of=job_id, owner=job.owner
        )
        if self.release.is_set():
            self.finish(again.id)
        return self.jobs[again.id]

    def counts(self, *, owner: str | None = None) -> dict[JobStatus, int]:
        return dict(Counter(job.status for job in self.jobs.values() if owner in (None, job.owner)))

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[FeedEvent | None]:
        self.get(job_id)
        seen = 0
        while True:
            with self._changed:
                news = self._changed.wait_for(
                    lambda seen=seen: len(self.feeds[job_id]) > seen or self._is_stopped,  # type: ignore[misc]
                    self.heartbeat_seconds,
                )
                events, is_stopped = self.feeds[job_id][seen:], self._is_stopped
            seen += len(events)
            wanted = [event for event in events if event.number is None or event.number > after]
            yield from wanted
            if is_stopped or any(event.is_last for event in events):
                return
            if not news:
                yield None

    def cancel(self, job_id: str) -> Job:
        if self.get(job_id).status.is_final:
            raise JobFinishedError()
        self._end(job_id, JobStatus.CANCELLED, kept(JobCancelledError()))
        return self.jobs[job_id]

    def purge(self, job_id: str) -> None:
        if not self.get(job_id).status.is_final:
            raise JobNotFinishedError()
        del self.jobs[job_id]
        self.results.pop(job_id, None)

    def retry(self, job_id: str) -> Job:
        job = self.get(job_id)
        if job.status is not JobStatus.FAILED:
            raise JobNotFailedError()
        if not job.has_upload:
            raise UploadGoneError()
        self.feeds[job_id].clear()
        return self._change(job_id, status=JobStatus.QUEUED, error=None, completed_at=None)

    def devices(self, job_ids: Collection[str]) -> dict[str, DeviceFacts]:
        found = {job_id: self.results[job_id] for job_id in job_ids if job_id in self.results}
        return {
            job_id: DeviceFacts(gpu_used=one.gpu_used, device=one.device, compute_type=one.compute_type)
            for job_id, one in found.items()
        }

    def transcription(self, job_id: str) -> Transcription:
        job = self.get(job_id)
        if job.error is not None:
            raise restored(job.error)
        if job_id not in self.results:
            raise JobNotFinishedError()
        return self.results[job_id]

    def models(self) -> tuple[LocalModel, ...]:
        return tuple(_model(name) for name in ("base", "tiny.en"))

    def _finish_when_released(self, job_id: str) -> None:
        self.release.wait(60)
        if job_id in self.jobs:
            self.finish(job_id)

    def _end(self, job_id: str, status: JobStatus, error: JobError | None) -> None:
        job = self._change(job_id, status=status, error=error, completed_at=NOW, duration=11.0)
        kind = "done" if status is JobStatus.SUCCEEDED else "error"
        data = {"job_id": job.id, "status": status.value}
        self._tell(job_id, FeedEvent(kind=kind, data=data, number=len(self.segments[job_id]) + 1))

    def _change(self, job_id: str, **changes: Any) -> Job:
        with self._changed:
            self.jobs[job_id] = self.jobs[job_id].evolve(**changes)
            self._changed.notify_all()
            return self.jobs[job_id]

    def _tell(self, job_id: str, event: FeedEvent) -> None:
        with self._changed:
            self.feeds[job_id].append(event)
            self._changed.notify_all()


@dataclass(frozen=True)
class FakeOutcome:
    """A job's end, as the service's futures tell it."""

    service: FakeService
    job_id: str

    def result(self, timeout: float | None = None) -> Transcription:
        return self.service.wait(self.job_id, timeout)


@dataclass(frozen=True)
class FakeStorage:
    """What Transcripts needs of the service's storage."""

    transcripts: MemoryTranscripts

    def run(self, work: Any, *arguments: Any) -> Any:
        return work(*arguments)

    compute = run


def _fields_of(terms: SubmissionTerms) -> dict[str, Any]:
    return {field.name: getattr(terms, field.name) for field in fields(terms)}


class FakeRegister:
    """Sessions that signed out, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def read(self) -> dict[str, int]:
        return dict(self._kept)

    def write(self, ended: dict[str, int]) -> None:
        self._kept = dict(ended)


class FakeModels:
    """ModelManager's public methods over a few models in memory; `error` is raised by what changes something."""

    def __init__(self) -> None:
        self.states = {
            "base": "loaded",
            "tiny.en": "unloaded",
            "small": "absent",
            "someone/whisper": "unloaded",
        }
        self.error: TranscriberError | None = None
        self.asked: list[tuple[str, ...]] = []

    def all(self) -> list[dict[str, Any]]:
        return [self.get(name) for name in self.states]

    def get(self, name: str) -> dict[str, Any]:
        if name not in self.states:
            raise ModelNotFoundError()
        return _model_facts(name, self.states[name])

    def memory(self) -> dict[str, Any]:
        return {
            "cuda": {"limit_bytes": None, "counted_bytes": 0},
            "cpu": {"limit_bytes": 2_000_000_000, "counted_bytes": 400_000_000},
        }

    def load(self, name: str, device: str) -> dict[str, Any]:
        return self._set(name, "loaded", "load", device)

    def begin_load(self, name: str, device: str) -> None:
        self._set(name, "loading", "begin_load", device)

    def unload(self, name: str, device: str | None = None) -> dict[str, Any]:
        return self._set(name, "unloaded", "unload", str(device))

    def download(self, name: str) -> dict[str, Any]:
        return self._set(name, "downloading", "download")

    def _set(self, name: str, state: str, *asked: str) -> dict[str, Any]:
        self.get(name)
        if self.error is not None:
            raise self.error
        self.asked.append((*asked, name))
        self.states[name] = state
        return self.get(name)


def _model_facts(name: str, state: str) -> dict[str, Any]:
    is_running = state == "downloading"
    download = {
        "state": "downloading",
        "done_bytes": 120_000_000,
        "total_bytes": 480_000_000,
        "percent": 25.0,
        "started_at": NOW.isoformat(),
        "ended_at": None,
        "error": None,
    }
    engine = {
        "device": "cpu",
        "state": state,
        "compute_type": "int8_float32",
        "pid": 4711 if state == "loaded" else None,
        "borrowers": 0,
        "resident_bytes": 300_000_000 if state == "loaded" else None,
        "counted_bytes": 400_000_000 if state == "loaded" else 0,
        "load_seconds": 1.5,
        "proven_at": NOW.isoformat(),
        "last_used_at": NOW.isoformat(),
        "unloaded_at": None if state == "loaded" else NOW.isoformat(),
        "unloaded_because": None if state == "loaded" else "idle",
        "error": None,
    }
    return {
        "id": name,
        "state": state,
        "is_default": name == "base",
        "source": "hub" if state == "absent" else "folder",
        "path": None if state == "absent" else f"/models/{name}",
        "repository": None,
        "revision": None,
        "verified": True,
        "size_bytes": 145_217_532,
        "can_translate": True,
        "is_english_only": False,
        "needs_bytes": {"cuda": None, "cpu": 400_000_000},
        "last_used_at": NOW.isoformat(),
        "engines": [engine] if state in ("loaded", "unloaded") else [],
        "download": download if is_running else None,
    }


@dataclass
class FakeApplication:
    """What bootstrap's Application offers the web, with facts that a test can change."""

    service: FakeService
    settings: loader.Settings
    is_ready: bool = True
    is_gpu_proven: bool = False
    session_secret: bytes = b"s" * 32
    revoked_sessions: FakeRegister = field(default_factory=lambda: FakeRegister())
    details: dict[str, Any] = field(default_factory=lambda: {"status": "degraded", "gpu_policy": "preferred"})
    metrics: Metrics = field(default_factory=lambda: Metrics(version="0", clock=SystemClock()))
    #: What a self-test finds, where it differs from make_finding's; and what those so far have found.
    finding: dict[str, Any] = field(default_factory=dict)
    findings: list[HealthFinding] = field(default_factory=list)
    models: FakeModels = field(default_factory=lambda: FakeModels())

    def __post_init__(self) -> None:
        self.key_store = MemoryKeys()
        self._ring: tuple[loader.Settings, KeyRing] | None = None

    @property
    def keys(self) -> KeyRing:
        """A real one, over the settings of now: tests change them."""
        if self._ring is None or self._ring[0] is not self.settings:
            ring = KeyRing(
                self.key_store,
                first=self.settings.api_key,
                is_loopback=loader.is_loopback(self.settings.host),
                clock=SystemClock(),
            )
            self._ring = (self.settings, ring)
        return self._ring[1]

    def device_for(self, asked: str | None) -> str:
        return asked or "cpu"

    @property
    def default_model(self) -> str:
        return self.settings.model

    def ready(self) -> tuple[bool, dict[str, Any]]:
        return self.is_ready, self.details

    def gpu_health(self) -> tuple[bool, dict[str, Any]]:
        return self.is_gpu_proven, self.details

    def diagnostics(self) -> Diagnostics:
        return make_diagnostics(self.settings, self.findings)

    def disk_free_bytes(self) -> int | None:
        return 41_300_000_000

    def selftest(self, device: str | None = None) -> HealthFinding:
        self.findings.append(make_finding(**self.finding, **({"device": device} if device else {})))
        return self.findings[-1]


def make_application(spool: Path, **environ: str) -> FakeApplication:
    """An application over a fake service, with settings from these variables."""
    spool.mkdir(exist_ok=True)
    return FakeApplication(service=FakeService(spool), settings=loader.load(environ))


def make_finding(**changes: Any) -> HealthFinding:
    """A CPU engine that passed its self-test, unless changed."""
    steps = (
        Step(name="visible", outcome="not_applicable"),
        Step(name="usable", outcome="not_applicable"),
        Step(name="computed", outcome="passed", seconds=0.4, numbers={"difference": 0.04}),
        Step(name="fast", outcome="not_applicable", numbers={"seconds": 0.4}),
    )
    report = SelfTestReport(
        device="cpu", compute_type="int8_float32", steps=steps, seconds=0.5, run_seconds=0.4, cold_seconds=0.4
    )
    values: dict[str, Any] = {
        "outcome": "passed",
        "device": "cpu",
        "model": "base",
        "compute_type": "int8_float32",
        "engine_pid": 4711,
        "tested_at": NOW,
        "seconds": 0.5,
        "report": report,
        "proven_at": NOW,
    }
    return HealthFinding(**(values | changes))


def make_diagnostics(settings: loader.Settings, findings: Sequence[HealthFinding] = ()) -> Diagnostics:
    """A machine without a GPU, as the probe describes it."""
    reason = {
        "code": "no_nvidia_gpu",
        "message": "No NVIDIA GPU was found on this machine.",
        "fix": "Use a machine with an NVIDIA GPU, or set WHISPER_GPU_POLICY=off.",
    }
    rejected = {
        "path": "/usr/lib/libcublas.so.13",
        "version": None,
        "found_via": "system",
        "rejected": "it is libcublas.so.13, and CTranslate2 opens libcublas.so.12",
        "rejected_code": "foreign",
    }
    return Diagnostics(
        verdict="This server transcribes on the CPU (int8_float32): no NVIDIA GPU was found on this machine.",
        status="degraded",
        gpu_policy=settings.gpu_policy,
        problems=[reason],
        notes=[{"code": "setting_without_effect", "message": "CT2_USE_CUDNN has no effect.", "fix": ""}],
        hardware={"present": False, "found": ()},
        driver={
            "loaded": False,
            "load_error": "libcuda.so.1: cannot open shared object file",
            "version": None,
        },
        devices=[],
        selected_device=None,
        libraries=[{"name": "libcublas.so.12", "needed": True, "chosen": None, "candidates": [rejected]}],
        ctranslate2={"version": "4.8.5", "needs_cudnn": False, "compute_types": {"cpu": ["int8", "float32"]}},
        engines=[
            {
                "pid": 4711,
                "device": "cpu",
                "compute_type": "int8_float32",
                "model": "base",
                "uptime": 12.5,
                "device_name": None,
                "warmup_device": "cpu",
            }
        ],
        last_receipt=None,
        models=[{"name": "base", "verified": True, "path": "/data/models/base", "size_bytes": 145217532}],
        settings=settings.public(),
        versions={"python": "3.11.7", "packages": {"flask": "3.1.3"}},
        media_sandbox={"seccomp": True},
        generated_at=NOW.isoformat(),
        gpu_checked_at=NOW.isoformat(),
        probe_seconds=0.2,
        selftests=[finding.to_dict() for finding in findings],
        stages=stages((), make_transcription()),
        last_hour=make_last_hour(),
    )


def make_last_hour() -> dict[str, Any]:
    """An hour of a service that had to do on both devices."""
    quiet: list[float | None] = [None] * 20
    return {
        "until": NOW.isoformat(),
        "jobs": 8,
        "jobs_on_gpu": 6,
        "rtf_median": 0.04,
        "rtf_gpu": [*quiet, *[0.02, 0.04, None, 0.03] * 10],
        "rtf_cpu": [*quiet, *[None, 0.1, None, None] * 10],
        "waiting": [*quiet, *[0, 1, 4, 2] * 10],
        "at_work": [*quiet, *[0, 1, 2, 1] * 10],
        "gpu_use": [*quiet, *[0.0, 0.4, 0.9, 0.5] * 10],
    }


def _model(name: str) -> LocalModel:
    return LocalModel(
        name=name,
        path=Path("/models") / name,
        source="folder",
        repository=None,
        revision=None,
        verified=True,
        can_translate=not name.endswith(".en"),
        is_english_only=name.endswith(".en"),
        size_bytes=1,
    )
