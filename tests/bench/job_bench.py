"""A job with its folder and journal, run by the real Transcriber over stand-ins for decoder, engines and clock."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

from fake_ports import NOW, FakeClock, FakeDecoder, FakeEnginePool, gpu_status
from transcriber.domain.events import EngineEvent
from transcriber.domain.jobs import Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.ports import DecodedAudio
from transcriber.domain.transcript import Transcription
from transcriber.gpu.memory_fallback import DegradationPolicy
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.receipt.engine_facts import EngineFacts
from transcriber.jobs.active_job import CancellationToken
from transcriber.jobs.files.journal import Journal, JournalState
from transcriber.service.failure_policy import RetryPolicy
from transcriber.service.transcription import DevicePlan, Transcriber, TranscriptionWork


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


class SilentWatcher:
    """Nobody looks on; all audio is long."""

    def decoded(self, audio: DecodedAudio) -> str:
        return "long"

    def began(self, device: str, state: JournalState) -> None: ...

    def heard(self, event: EngineEvent, state: JournalState) -> None: ...


class Bench:
    """A job's folder with its journal, and counts as the store keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.native = concurrent.futures.ThreadPoolExecutor(1)
        self.decoder = FakeDecoder()
        self.clock = FakeClock()
        self.cancellation = CancellationToken()
        self.noted: list[tuple[int, int]] = []
        (folder / "upload").write_bytes(b"audio")

    def run(
        self,
        pool: FakeEnginePool,
        job: Job | None = None,
        *,
        status: GpuStatus | None = None,
        policy: str = "preferred",
        degradation_policy: DegradationPolicy | None = None,
        seen: EngineFacts | None = None,
    ) -> Transcription:
        job = job or make_job()
        transcriber = Transcriber(
            decoder=self.decoder,
            engines=pool,
            gpu_status=lambda: status or gpu_status(),
            devices=DevicePlan(
                policy=policy,
                gpu_compute_type="auto",
                cpu_compute_type="int8",
                degradation_policy=degradation_policy,
                observe_engine=lambda engine: seen or EngineFacts(),
            ),
            clock=self.clock,
            boot_id="this boot",
        )
        journal = Journal.open(self.folder / "journal", self.native)
        try:
            return transcriber.run(
                TranscriptionWork(
                    job=job,
                    upload=self.folder / "upload",
                    pcm=self.folder / "audio.pcm",
                    journal=journal,
                    cancellation=self.cancellation,
                    retry_policy=RetryPolicy(
                        job, self.cancellation, lambda *counts: self.noted.append(counts)
                    ),
                    watcher=SilentWatcher(),
                )
            )
        finally:
            journal.close()
