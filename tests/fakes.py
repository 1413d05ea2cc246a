"""Stand-ins for the service behind the web pages: real values, a real spool folder, no engine."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transcriber import config
from transcriber.clock import SystemClock
from transcriber.diagnostics import Diagnostics
from transcriber.domain.errors import JobNotFinishedError, JobNotFoundError, TranscriberError
from transcriber.domain.jobs import Job, JobError, JobStatus
from transcriber.domain.options import TranscriptionRequest
from transcriber.domain.transcript import Notice, Transcription
from transcriber.engine.models import LocalModel
from transcriber.jobs.ids import new_job_id
from transcriber.metrics import Metrics
from transcriber.service import Upload
from transcriptions import make_segment, make_transcription

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeService:
    """Service's public methods: every upload becomes the same transcription, or the error it is told."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.jobs: dict[str, Job] = {}
        self.received: dict[str, bytes] = {}
        self.results: dict[str, Transcription] = {}
        #: Raised by begin_upload, by submit, and as the job's own error.
        self.begin_error: TranscriberError | None = None
        self.submit_error: TranscriberError | None = None
        self.job_error: TranscriberError | None = None
        self.answer = make_transcription(
            make_segment(), make_segment(id=1, start=2.5, end=4.0, text=" Ask <b>more</b>.")
        )
        #: wait() answers once this is set.
        self.release = threading.Event()
        self.release.set()

    def begin_upload(self, *, expected_bytes: int = 0) -> Upload:
        if self.begin_error is not None:
            raise self.begin_error
        job_id = new_job_id()
        folder = self.spool / job_id
        folder.mkdir()
        return Upload(job_id=job_id, path=folder / "upload")

    def abandon_upload(self, upload: Upload) -> None:
        shutil.rmtree(upload.path.parent)

    def submit(
        self, upload: Upload, request: TranscriptionRequest, *, file_name: str, request_id: str
    ) -> Job:
        if self.submit_error is not None:
            raise self.submit_error
        self.received[upload.job_id] = upload.path.read_bytes()
        job = self.add_job(upload.job_id, request, file_name=file_name, request_id=request_id)
        shutil.rmtree(upload.path.parent)
        return job

    def add_job(
        self,
        job_id: str,
        request: TranscriptionRequest,
        *,
        file_name: str = "speech.flac",
        request_id: str | None = None,
        status: JobStatus = JobStatus.QUEUED,
        error: JobError | None = None,
    ) -> Job:
        """A job row, for tests that need one without an upload."""
        job = Job(
            id=job_id,
            status=status,
            request=request,
            file_name=file_name,
            size_bytes=len(self.received.get(job_id, b"")),
            created_at=NOW,
            request_id=request_id,
            error=error,
        )
        self.jobs[job_id] = job
        return job

    def wait(self, job_id: str, timeout: float | None = None) -> Transcription:
        self.release.wait(timeout or 30)
        job = self.jobs[job_id]
        if self.job_error is not None:
            kept = JobError(code=self.job_error.code, message=self.job_error.message, fix=self.job_error.fix)
            self.jobs[job_id] = job.evolve(status=JobStatus.FAILED, error=kept)
            raise self.job_error
        ignored = tuple(
            Notice(code="ignored_parameter", message=f"{name} has no effect.", param=name)
            for name in job.request.ignored
        )
        answer = replace(self.answer, job_id=job_id, model=job.request.model, warnings=ignored)
        self.results[job_id] = answer
        self.jobs[job_id] = job.evolve(status=JobStatus.SUCCEEDED, started_at=NOW, completed_at=NOW)
        return answer

    def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise JobNotFoundError()
        return self.jobs[job_id]

    def transcription(self, job_id: str) -> Transcription:
        job = self.get(job_id)
        if job.error is not None:
            raise TranscriberError(job.error.message, code=job.error.code, fix=job.error.fix)
        if job_id not in self.results:
            raise JobNotFinishedError()
        return self.results[job_id]

    def models(self) -> tuple[LocalModel, ...]:
        return tuple(_model(name) for name in ("base", "tiny.en"))


@dataclass
class FakeApplication:
    """What bootstrap's Application offers the web, with facts that a test can change."""

    service: FakeService
    settings: config.Settings
    is_ready: bool = True
    is_gpu_proven: bool = False
    details: dict[str, Any] = field(default_factory=lambda: {"status": "degraded", "gpu_policy": "preferred"})
    metrics: Metrics = field(default_factory=lambda: Metrics(version="0", clock=SystemClock()))

    @property
    def default_model(self) -> str:
        return self.settings.model

    def ready(self) -> tuple[bool, dict[str, Any]]:
        return self.is_ready, self.details

    def gpu_health(self) -> tuple[bool, dict[str, Any]]:
        return self.is_gpu_proven, self.details

    def diagnostics(self) -> Diagnostics:
        return make_diagnostics(self.settings)


def make_application(spool: Path, **environ: str) -> FakeApplication:
    """An application over a fake service, with settings from these variables."""
    spool.mkdir(exist_ok=True)
    return FakeApplication(service=FakeService(spool), settings=config.load(environ))


def make_diagnostics(settings: config.Settings) -> Diagnostics:
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
    )


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
