"""A service over a store in memory, a real spool and stand-in ports; it can be stopped, killed and started again."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fake_ports import FakeDecoder, FakeEngine, FakeEnginePool, FakeFetcher, gpu_status
from transcriber.domain.errors import InvalidParameterError, ModelNotFoundError, StorageFailedError
from transcriber.domain.jobs import Delivery, DeliveryStatus, Job, JobStatus, SubmissionTerms, Webhook
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import FallbackReason, Transcription
from transcriber.jobs.files.output import OutputFolder
from transcriber.jobs.files.results import FileResultStore
from transcriber.jobs.files.spool import Spool
from transcriber.jobs.queue import Slots
from transcriber.jobs.retention import Retention
from transcriber.jobs.speeds import Speeds
from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.models.finder import LocalModel
from transcriber.service.facade import Checks, JobLimits, Service, Storage, Webhooks
from transcriber.service.transcription import DevicePlan, Transcriber
from transcriber.system.backoff import Backoff
from transcriber.system.clock import SystemClock

DEADLINE = 10.0

REQUEST = TranscriptionRequest(model="base", use_gpu=False, require_gpu=False, options=TranscriptionOptions())
NO_DRIVER = FallbackReason(code="no_driver", message="There is no driver.", fix="Install it.")
WEBHOOK = Webhook(url="https://receiver.example/hook", secret="s" * 32)


class FakeModels:
    """Three models, as the finder describes them."""

    def describe(self, name: str) -> LocalModel:
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


class FailingStore(MemoryJobStore):
    """A store whose disk fails for as many writes of each kind as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, int] = {}
        #: Writes that get through although they report a failure.
        self.lies: set[str] = set()

    def add(self, job: Job) -> Job:
        return self._tried("add", lambda: super(FailingStore, self).add(job))

    def get(self, job_id: str) -> Job:
        return self._tried("get", lambda: super(FailingStore, self).get(job_id))

    def claim(self, job_id: str, now: datetime) -> Job | None:
        return self._tried("claim", lambda: super(FailingStore, self).claim(job_id, now))

    def finish(self, *args: Any, **kwargs: Any) -> bool:
        return self._tried("finish", lambda: super(FailingStore, self).finish(*args, **kwargs))

    def requeue(self, job_id: str, attempt: int) -> bool:
        return self._tried("requeue", lambda: super(FailingStore, self).requeue(job_id, attempt))

    def _tried(self, name: str, work: Callable[[], Any]) -> Any:
        if self.failures.get(name, 0) <= 0:
            return work()
        self.failures[name] -= 1
        if name in self.lies:
            work()
        raise StorageFailedError(f"{name} failed.")


class FailingResults(FileResultStore):
    """Results on a disk that fails as often as it is told."""

    failures = 0

    def save(self, transcription: Transcription) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageFailedError("save failed.")
        super().save(transcription)


def make_delivery(job: Job, transcription: Transcription | None, now: datetime) -> Delivery | None:
    if job.webhook is None:
        return None
    return Delivery(
        id=f"msg_{job.id}_{job.attempts}",
        job_id=job.id,
        url=job.webhook.url,
        secret=job.webhook.secret,
        payload=f"{job.status.value} {transcription.text if transcription else ''}",
        status=DeliveryStatus.PENDING,
        created_at=now,
        next_try_at=now,
    )


def check_webhook(webhook: Webhook) -> None:
    if "127.0.0.1" in webhook.url:
        raise InvalidParameterError("webhook_url", webhook.url, "a public address")


@dataclass
class Bench:
    """The service's surroundings, which outlive it, and the service of the moment."""

    folder: Path
    native: concurrent.futures.Executor
    slots: Slots = Slots(long=1, short=0, max_queue=5)  # noqa: RUF009  frozen
    decoder: FakeDecoder = field(default_factory=FakeDecoder)
    fetcher: FakeFetcher = field(default_factory=FakeFetcher)
    engine: FakeEngine = field(default_factory=lambda: FakeEngine("cpu", ("cpu",) * 4))
    store: FailingStore = field(default_factory=FailingStore)
    wakes: list[float] = field(default_factory=list)
    job_timeout_seconds: float = 0.0
    short_seconds: float = 60.0
    disk_reserve_bytes: int = 0

    def __post_init__(self) -> None:
        self.pool = FakeEnginePool(engines={"cpu": self.engine})
        self.spool = Spool(self.folder / "spool", self.disk_reserve_bytes)
        self.results = FailingResults(self.folder / "results")
        self.output = self.folder / "out"
        self.output.mkdir(exist_ok=True)
        self.service = self.make()

    def make(self) -> Service:
        clock = SystemClock()
        retention = Retention(
            store=self.store,
            results=self.results,
            spool=self.spool,
            clock=clock,
            native=self.native,
            keep_uploads=timedelta(hours=24),
            keep_results=timedelta(days=30),
            disk_budget_bytes=None,
        )
        transcriber = Transcriber(
            decoder=self.decoder,
            engines=self.pool,
            gpu_status=lambda: gpu_status(NO_DRIVER),
            devices=DevicePlan(policy="preferred", gpu_compute_type="auto", cpu_compute_type="int8"),
            clock=clock,
            boot_id="this boot",
        )
        return Service(
            storage=Storage(
                jobs=self.store,
                outbox=self.store.outbox,
                transcripts=self.store.transcripts,
                results=self.results,
                spool=self.spool,
                output=OutputFolder(self.output),
                retention=retention,
                native=self.native,
                computing=self.native,
            ),
            checks=Checks(
                models=FakeModels(),  # type: ignore[arg-type]
                decide=transcriber.decide,
                webhook=check_webhook,
                fetcher=self.fetcher,
            ),
            transcriber=transcriber,
            webhooks=Webhooks(make_delivery=make_delivery, wake=lambda: self.wakes.append(clock.monotonic())),
            speeds=Speeds(clock),
            limits=JobLimits(
                slots=self.slots,
                short_seconds=self.short_seconds,
                job_timeout_seconds=self.job_timeout_seconds,
                heartbeat_seconds=0.05,
                pace_seconds=0.0,
                backoff=Backoff(0.01, 60.0),
            ),
            clock=clock,
        )

    def send(self, request: TranscriptionRequest = REQUEST, *, seconds: float = 10.0, **terms: Any) -> Job:
        """Upload a file and submit it."""
        upload = self.service.begin_upload()
        upload.path.write_bytes(b"not really audio")
        self.decoder.seconds[upload.job_id] = seconds
        return self.service.submit(
            upload, request, file_name="talk.mp3", request_id="r1", terms=SubmissionTerms(**terms)
        )

    def send_url(self, url: str = "https://media.example/talk.mp3", **terms: Any) -> Job:
        """Submit a file that is fetched from a URL."""
        upload = self.service.begin_upload()
        upload.path.touch()
        return self.service.submit(
            upload,
            replace(REQUEST, url=url),
            file_name="talk.mp3",
            request_id="r1",
            terms=SubmissionTerms(**terms),
        )

    def send_and_hold(self, at: int, **terms: Any) -> Job:
        """A job that has got as far as this window, and stays there."""
        self.engine.hold_at = at
        job = self.send(**terms)
        assert self.engine.held.acquire(timeout=DEADLINE)
        return job

    def let_go(self) -> None:
        self.engine.go.set()

    def restart(self) -> None:
        """Stop the service as SIGTERM does, and start another one on the same store and spool."""
        self.service.close(DEADLINE)
        self.service = self.make()
        self.service.start()

    def kill(self, *, hold_at: int | None = None) -> Callable[[], None]:
        """Start another service while the rows and files are as a SIGKILL leaves them.

        The old one's threads still hang in the stand-ins; the answer ends them.
        """
        old = self.service
        self.engine = FakeEngine("cpu", self.engine.window_devices, hold_at=hold_at)
        held, self.pool.engines["cpu"] = self.pool.engines["cpu"], self.engine
        self.service = self.make()
        self.service.start()

        def bury() -> None:
            held.go.set()
            old.close(DEADLINE)

        return bury

    def until_ended(self, job_id: str) -> Job:
        assert eventually(lambda: self.service.get(job_id).status.is_final), self.service.get(job_id)
        return self.service.get(job_id)

    def until(self, job_id: str, status: JobStatus) -> None:
        assert eventually(lambda: self.service.get(job_id).status is status), self.service.get(job_id)

    def files(self, job_id: str) -> set[str]:
        folder = self.spool.upload_path(job_id).parent
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def eventually(condition: Callable[[], object], seconds: float = DEADLINE) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False
