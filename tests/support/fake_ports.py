"""Stand-ins for the domain's ports: a decoder, engines and a clock that do what a test tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from transcriber.domain.errors import JobCancelledError, TranscriberError
from transcriber.domain.events import (
    EngineEvent,
    Finished,
    LanguageDetected,
    Planned,
    Resumption,
    SegmentReady,
    WindowDone,
)
from transcriber.domain.options import MIX, AudioSelection, TranscriptionOptions
from transcriber.domain.ports import SAMPLE_RATE, DecodedAudio, Engine, EngineInfo, FetchProgress
from transcriber.domain.transcript import FallbackReason
from transcriber.gpu.probe.facts import GpuStatus, HardwareFacts
from transcriptions import make_segment

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def age(self, moment: datetime) -> float:
        return max(0.0, (self.now() - moment).total_seconds())

    def before(self, ago: timedelta) -> datetime:
        return self.now() - ago


@dataclass
class FakeFetcher:
    """Every URL leads to these bytes, or to the errors it is told, one a call."""

    content: bytes = b"not really audio"
    refusal: TranscriberError | None = None
    errors: list[TranscriberError] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    #: A file that is held arrives half, and the rest once this is set.
    go: threading.Event = field(default_factory=threading.Event)
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    holds: bool = False

    def check(self, url: str) -> None:
        if self.refusal is not None:
            raise self.refusal

    def fetch(self, url: str, write: Callable[[bytes], object], progress: FetchProgress) -> None:
        self.fetched.append(url)
        if self.errors:
            raise self.errors.pop(0)
        half = len(self.content) // 2
        write(self.content[:half])
        progress(half, len(self.content))
        if self.holds:
            self.held.release()
            while not self.go.wait(0.01):
                progress(half, len(self.content))
        write(self.content[half:])
        progress(len(self.content), len(self.content))


@dataclass
class FakeDecoder:
    """Every upload is ten seconds of audio, or as many as its name says, or the errors it is told, one a call."""

    error: TranscriberError | None = None
    errors: list[TranscriberError] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    decoded: list[str] = field(default_factory=list)
    selections: list[AudioSelection] = field(default_factory=list)
    #: A decoding that is held waits until this is set, or until it is cancelled.
    go: threading.Event = field(default_factory=threading.Event)
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    holds: bool = False

    def decode(
        self,
        upload: Path,
        pcm: Path,
        *,
        job_id: str,
        cancelled: Callable[[], bool] | None = None,
        selection: AudioSelection = MIX,
    ) -> DecodedAudio:
        self.selections.append(selection)
        self.decoded.append(job_id)
        if self.error is not None:
            raise self.error
        if self.errors:
            raise self.errors.pop(0)
        samples = int(self.seconds.get(job_id, 10.0) * SAMPLE_RATE)
        if pcm.parent.is_dir():
            with pcm.open("wb") as file:
                file.truncate(2 * samples)
        if self.holds:
            self.held.release()
        while self.holds and not self.go.wait(0.01):
            if cancelled is not None and cancelled():
                raise JobCancelledError()
        if cancelled is not None and cancelled():
            raise JobCancelledError()
        return DecodedAudio(
            path=pcm,
            samples=samples,
            container="flac",
            codec="flac",
            channels=1,
            sample_rate=44_100,
            audio_streams=1,
            stream_index=0,
        )

    def close(self) -> None: ...


@dataclass
class FakeEngine:
    """Reports its windows on the devices it is told; fails or stops before the window it is told."""

    device: str
    window_devices: tuple[str, ...]
    errors: list[TranscriberError] = field(default_factory=list)
    #: Windows that it tells nothing of but their text.
    untold: tuple[int, ...] = ()
    #: The channel of each window, where channels are transcribed one after the other.
    channels: tuple[int, ...] = ()
    #: Before which window an error is raised.
    error_at: int = 0
    #: Before which window a run stops until `go` is set or the job is cancelled; it says so in `held`.
    hold_at: int | None = None
    go: threading.Event = field(default_factory=threading.Event)
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    #: Said of each window that was done, in all runs.
    done: list[tuple[str, int]] = field(default_factory=list)
    lanes: list[str] = field(default_factory=list)
    resumptions: list[Resumption | None] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    busy: int = 0

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            pid=4711,
            device=self.device,
            device_index=0,
            device_name="NVIDIA Stand-in" if self.device == "cuda" else None,
            device_uuid="GPU-1" if self.device == "cuda" else None,
            model="base",
            compute_type="float16" if self.device == "cuda" else "int8_float32",
            requested_compute_type="auto",
            supported_compute_types=(),
            started_at=NOW,
            load_seconds=1.0,
            warmup_seconds=0.1,
            warmup_device=self.device,
        )

    def transcribe(
        self,
        job_id: str,
        pcm: Path,
        samples: int,
        options: TranscriptionOptions,
        *,
        pcm_channels: int = 1,
        lane: str = "long",
        resumption: Resumption | None = None,
    ) -> Iterator[EngineEvent]:
        self.lanes.append(lane)
        self.resumptions.append(resumption)
        count = len(self.window_devices)
        first = len(resumption.finished) if resumption else 0
        if resumption is None:
            yield LanguageDetected(language="en", language_probability=0.9)
        if resumption is None or resumption.plan is None:
            yield Planned(
                first_index=0,
                windows=tuple((samples * i // count, samples * (i + 1) // count) for i in range(count)),
                is_complete=True,
                duration_after_vad=8.0,
                vad_seconds=0.1,
            )
        for index in range(first, count):
            self._pause(job_id, index)
            if index not in self.untold:
                yield WindowDone(index=index, device=self.window_devices[index])
            self.done.append((job_id, index))
            channel = self.channels[index] if self.channels else None
            start = 3.0 * (self.channels[:index].count(channel) if channel is not None else index)
            yield SegmentReady(segment=make_segment(id=index, start=start, end=start + 2, channel=channel))
        if self.errors and self.error_at >= count:
            raise self.errors.pop(0)
        yield Finished(
            vad_seconds=0.1,
            language_detection_seconds=0.2,
            transcription_seconds=0.3,
            pool_peak_bytes=None,
            notices=(),
        )

    def _pause(self, job_id: str, index: int) -> None:
        if index == self.error_at and self.errors:
            raise self.errors.pop(0)
        if index == self.hold_at:
            self.held.release()
            while not self.go.wait(0.005):
                if job_id in self.cancelled:
                    raise JobCancelledError()

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)


@dataclass
class FakeEnginePool:
    """One engine for each device; a device without one fails to start with the error it is told."""

    engines: dict[str, FakeEngine]
    start_error: TranscriberError | None = None
    lent: list[str] = field(default_factory=list)
    discarded: list[Engine] = field(default_factory=list)
    discarded_for: list[TranscriberError | None] = field(default_factory=list)
    up: tuple[EngineInfo, ...] = ()

    @contextmanager
    def lend(self, device: str, model: str) -> Iterator[Engine]:
        self.lent.append(device)
        if device not in self.engines:
            assert self.start_error is not None
            raise self.start_error
        yield self.engines[device]

    def running(self) -> tuple[EngineInfo, ...]:
        return self.up

    def discard(self, engine: Engine, error: TranscriberError | None = None, *, blocks: bool = True) -> None:
        self.discarded.append(engine)
        self.discarded_for.append(error)

    def close(self) -> None: ...


def gpu_status(cause: FallbackReason | None = None) -> GpuStatus:
    """A usable GPU, or one that can't serve for this cause."""
    return GpuStatus(
        hardware=HardwareFacts(present=cause is None),
        checked_at=NOW,
        probe_seconds=0.1,
        usable=cause is None,
        cause=cause,
        problems=(cause,) if cause else (),
    )
