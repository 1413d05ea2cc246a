"""What Prometheus gets: counters fed by observers, gauges read when it asks. One registry for each application.

Labels are few and short: no file name, no id and no text of a caller's ever becomes one.
"""

from __future__ import annotations

import collections
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..domain.errors import JobCancelledError, TranscriberError
from ..domain.jobs import Job
from ..domain.ports import Clock, EngineInfo
from ..domain.transcript import Transcription
from .gauges import Reading, ServiceState, read_gauges, reading

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: Number of recent jobs that the share of jobs on the GPU is taken over.
JOBS_IN_RATIO = 100

#: Fallback without a reason: the one thing that must never happen.
NO_REASON = "none_given"

_LABEL_VALUE = re.compile(r"[\w.:+-]{1,64}", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0)
_STAGE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_WAIT_BUCKETS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_RTF_BUCKETS = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
_BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_UPLOAD_BUCKETS = tuple(float(4**power * 1024) for power in range(3, 12))


class BoundedLabel:
    """Lets the first `most` values of a label through; what comes later, or is odd, is 'other'."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._most or not _LABEL_VALUE.fullmatch(value):
            return "other"
        self._known.add(value)
        return value


class Metrics:
    """All metrics of this application; safe to call from any thread."""

    def __init__(self, *, version: str, clock: Clock) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._code = BoundedLabel(100)
        self._model = BoundedLabel(30)
        self._gpu_share = GpuShare()
        self._canary = CanaryCollector(clock)
        self._add_job_metrics()
        self._add_stage_metrics()
        self._add_http_metrics()
        build = Gauge("transcriber_build_info", "1, with the version.", ["version"], registry=self._registry)
        build.labels(version).set(1)
        ProcessCollector(registry=self._registry)
        self._registry.register(self._canary)
        self._registry.register(self._gpu_share)

    def watch(self, look: Callable[[], ServiceState]) -> None:
        """Read the gauges from here whenever Prometheus asks. Called once, when the application is put together."""
        self._registry.register(_StateCollector(look))

    def render(self) -> bytes:
        """The text exposition, of CONTENT_TYPE."""
        return generate_latest(_WithoutCreated(self._registry))

    def observe_job_ended(
        self, job: Job, transcription: Transcription | None, error: TranscriberError | None
    ) -> None:
        """A job has a final status: with a transcription it succeeded, else the error says how it ended."""
        self._upload_bytes.observe(job.size_bytes)
        if transcription is not None:
            self.observe_job(transcription)
        elif isinstance(error, JobCancelledError):
            self._jobs.labels("none", "cancelled").inc()
            return  # its wait was cut short, and says nothing of the queue
        else:
            self.observe_failure((error or TranscriberError()).code)
        if job.started_at is not None:
            self._queue_wait.observe(
                max(0.0, self._clock.age(job.created_at) - self._clock.age(job.started_at))
            )

    def observe_job(self, transcription: Transcription) -> None:
        """A job succeeded: where it ran, what it was asked to, and how long each stage took."""
        t = transcription
        device, model = t.device, self._model(t.model)
        self._jobs.labels(device, "succeeded").inc()
        self._windows.labels("cuda").inc(t.receipt.windows_gpu)
        self._windows.labels("cpu").inc(t.receipt.windows_cpu)
        if t.gpu_used:
            self._gpu_used.inc()
        if t.requested.use_gpu:
            self._gpu_requested.inc()
            self._gpu_share.add(t.gpu_used)
        self._observe_fallback(t)
        self._observe_stages(t, device, model)

    def observe_failure(self, code: str) -> None:
        """A job failed with this error code."""
        self._jobs.labels("none", "failed").inc()
        self._failures.labels(self._code(code)).inc()

    def observe_batches(self, engine: EngineInfo, sizes: tuple[int, ...]) -> None:
        """Count batches of this engine by their size in windows."""
        for size in sizes:
            self._batch_size.labels(engine.device, self._model(engine.model)).observe(size)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is the pattern it matched, never the path."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def set_canary(
        self,
        outcome: str,
        seconds: float,
        age_seconds: float = 0.0,
        *,
        device: str = "cuda",
        stands: bool = True,
    ) -> None:
        """The self-test of this device's engine ended `age_seconds` ago.

        'passed' is the one good outcome, 'failed' the one bad. 'skipped' (nothing to test), 'slow' (the next one decides)
        and what does not stand are counted, and leave the last word as it was.
        """
        self._canary.set(outcome, seconds, age_seconds, device, stands)

    def _observe_fallback(self, t: Transcription) -> None:
        if t.fallback_reason is not None:
            self._fallback.labels(self._code(t.fallback_reason.code)).inc()
        elif t.requested.use_gpu and not t.gpu_used:
            self._fallback.labels(NO_REASON).inc()

    def _observe_stages(self, t: Transcription, device: str, model: str) -> None:
        if _is_positive(t.duration):
            self._audio_seconds.labels(device, model).inc(t.duration)
        worked = t.timings.total - t.timings.queue
        for stage, seconds in (
            ("audio_decode", t.timings.audio_decode),
            ("model_load", t.timings.model_load),
            ("vad", t.timings.vad),
            ("language_detection", t.timings.language_detection),
            ("transcription", t.timings.transcription),
            ("total", worked),
        ):
            if _is_positive(seconds):
                self._stage_seconds.labels(stage, device, model).observe(seconds)
                if _is_positive(t.duration):
                    self._stage_rtf.labels(stage, device, model).observe(seconds / t.duration)

    def _add_job_metrics(self) -> None:
        to = self._registry
        self._jobs = Counter(
            "transcriber_jobs",
            "Jobs that ended. device: by the evidence of their windows; none where no transcript came out.",
            ["device", "outcome"],
            registry=to,
        )
        # Zeros to start from: of a counter that begins at 1, Prometheus never sees the first increase.
        for device, outcome in (
            ("cuda", "succeeded"), ("cpu", "succeeded"), ("none", "failed"), ("none", "cancelled"),
        ):  # fmt: skip
            self._jobs.labels(device, outcome)
        self._failures = Counter("transcriber_job_failures", "Jobs that failed.", ["code"], registry=to)
        self._gpu_requested = Counter(
            "transcriber_jobs_gpu_requested", "Jobs that succeeded and had asked for the GPU.", registry=to
        )
        self._gpu_used = Counter(
            "transcriber_jobs_gpu_used", "Jobs of which every window ran on the GPU.", registry=to
        )
        self._fallback = Counter(
            "transcriber_fallback",
            f"Jobs that asked for the GPU and were not wholly done there, by reason; {NO_REASON} is a fault.",
            ["reason"],
            registry=to,
        )
        self._fallback.labels(NO_REASON)
        self._windows = Counter(
            "transcriber_windows",
            "Windows in transcripts, by the device of the encoder's output.",
            ["device"],
            registry=to,
        )
        for device in ("cuda", "cpu"):
            self._windows.labels(device)

    def _add_stage_metrics(self) -> None:
        to = self._registry
        by_engine = ["device", "model"]
        self._audio_seconds = Counter(
            "transcriber_audio_seconds", "Seconds of audio transcribed.", by_engine, registry=to
        )
        self._stage_seconds = Histogram(
            "transcriber_stage_seconds",
            "Seconds a job spent in a stage; total is without the queue.",
            ["stage", *by_engine],
            buckets=_STAGE_BUCKETS,
            registry=to,
        )
        self._stage_rtf = Histogram(
            "transcriber_stage_rtf",
            "Seconds in a stage for each second of audio; lower is faster.",
            ["stage", *by_engine],
            buckets=_RTF_BUCKETS,
            registry=to,
        )
        self._batch_size = Histogram(
            "transcriber_batch_size",
            "Windows that went through a model together.",
            by_engine,
            buckets=_BATCH_BUCKETS,
            registry=to,
        )
        self._queue_wait = Histogram(
            "transcriber_queue_wait_seconds",
            "Seconds a job waited until work on it began.",
            buckets=_WAIT_BUCKETS,
            registry=to,
        )
        self._upload_bytes = Histogram(
            "transcriber_upload_bytes",
            "Sizes of the uploads of jobs that ended.",
            buckets=_UPLOAD_BUCKETS,
            registry=to,
        )

    def _add_http_metrics(self) -> None:
        self._requests = Counter(
            "transcriber_http_requests",
            "Requests answered, by the route's pattern.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "transcriber_http_request_seconds",
            "Seconds until the answer began.",
            ["method", "route"],
            buckets=_HTTP_BUCKETS,
            registry=self._registry,
        )


class GpuShare(Collector):
    """How many of the newest jobs that asked for the GPU got it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: collections.deque[bool] = collections.deque(maxlen=JOBS_IN_RATIO)

    def add(self, gpu_used: bool) -> None:
        """One more job that asked."""
        with self._lock:
            self._used.append(gpu_used)

    def collect(self) -> Iterator[Metric]:
        """The share; nothing before the first such job."""
        with self._lock:
            share = sum(self._used) / len(self._used) if self._used else None
        yield _family(
            reading(
                "transcriber_jobs_gpu_used_ratio",
                f"Of the newest {JOBS_IN_RATIO} jobs that asked for the GPU, the share that ran there.",
                share,
            )
        )


class CanaryCollector(Collector):
    """The self-tests of the engines: how many ended how, and the newest of each device."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: collections.Counter[tuple[str, str]] = collections.Counter()
        #: By device: whether it passed, its seconds, and when (by the monotonic clock).
        self._newest: dict[str, tuple[bool, float, float]] = {}

    def set(self, outcome: str, seconds: float, age_seconds: float, device: str, stands: bool) -> None:
        """The newest self-test of this device."""
        ended = self._clock.monotonic() - age_seconds
        with self._lock:
            self._runs[device, outcome] += 1
            if stands and outcome in ("passed", "failed"):
                self._newest[device] = (outcome == "passed", seconds, ended)

    def collect(self) -> Iterator[Metric]:
        """Nothing before the first self-test."""
        now = self._clock.monotonic()
        with self._lock:
            runs, newest = dict(self._runs), dict(self._newest)
        yield _family(
            Reading(
                name="transcriber_canary_runs",
                help="Self-tests of the engines.",
                samples=tuple(
                    ({"device": device, "outcome": outcome}, n) for (device, outcome), n in runs.items()
                ),
                is_counter=True,
            )
        )
        for name, text, values in (
            ("passed", "1 when the newest self-test passed.", {d: each[0] for d, each in newest.items()}),
            ("seconds", "How long the newest self-test took.", {d: each[1] for d, each in newest.items()}),
            (
                "age_seconds",
                "Seconds since the newest self-test.",
                {d: now - each[2] for d, each in newest.items()},
            ),
        ):
            samples = tuple(({"device": device}, float(value)) for device, value in values.items())
            yield _family(Reading(name=f"transcriber_canary_{name}", help=text, samples=samples))


class _StateCollector(Collector):
    """Looks at the service when it is asked."""

    def __init__(self, look: Callable[[], ServiceState]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: to register is not to look."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from map(_family, read_gauges(self._look()))


class _WithoutCreated(Collector):
    """A registry without the _created samples, which double the page and are not used here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _family(of: Reading) -> Metric:
    """A reading in prometheus-client's form."""
    names = list(of.samples[0][0]) if of.samples else []
    kind = CounterMetricFamily if of.is_counter else GaugeMetricFamily
    family = kind(of.name, of.help, labels=names)
    for labels, value in of.samples:
        family.add_metric(list(labels.values()), value)
    return family


def _is_positive(number: float) -> bool:
    """Whether it may enter a sum: one NaN would spoil it for good."""
    return math.isfinite(number) and number > 0
