"""The workers of a fleet as a web node sees them: where jobs run, what proves it, and what is wrong. Pure."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..domain.errors import JobCancelledError, TranscriberError
from ..domain.jobs import Job
from ..domain.ports import Clock, EngineInfo
from ..domain.transcript import FallbackReason, Transcription
from .diagnostics import duration

#: Of how many workers the trouble is listed: one that is wrong everywhere is no clearer a hundred times.
MOST_PROBLEMS = 20


class SeenWorker(Protocol):
    """A worker as it last reported. age: seconds since then."""

    @property
    def id(self) -> str: ...

    @property
    def age(self) -> float: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerState:
    """What a worker says of itself is made from this."""

    ready: tuple[bool, Mapping[str, Any]]
    proven: EngineInfo | None
    engines: tuple[EngineInfo, ...]
    default_model: str


class WorkerHistory:
    """What a worker has done since its start, for whoever asks the web nodes. Safe to call from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: Counter[str] = Counter()
        self._audio: Counter[str] = Counter()
        self._windows: Counter[str] = Counter()
        self._last: tuple[str, float] | None = None

    def note_job(self, job: Job, transcription: Transcription | None, error: TranscriberError | None) -> None:
        """A job has ended here."""
        with self._lock:
            if transcription is None:
                self._ended["cancelled" if isinstance(error, JobCancelledError) else "failed"] += 1
                return
            self._ended["succeeded"] += 1
            self._audio[transcription.device] += transcription.duration  # type: ignore[assignment]
            self._windows["cuda"] += transcription.receipt.windows_gpu
            self._windows["cpu"] += transcription.receipt.windows_cpu
            self._last = (job.id, self._clock.monotonic())

    def facts(self) -> dict[str, Any]:
        """Plain values."""
        with self._lock:
            last = self._last
            return {
                "jobs": dict(self._ended),
                "audio_seconds": {device: round(value, 1) for device, value in self._audio.items()},
                "windows": dict(self._windows),
                "last_job": last
                and {"id": last[0], "age_seconds": round(self._clock.monotonic() - last[1], 1)},
            }


def describe_worker(state: WorkerState, clock: Clock) -> dict[str, Any]:
    """A worker's own word: whether it takes work, on what, and how old the proof is by its own clock."""
    is_able, body = state.ready
    engines = [_engine(engine, clock) for engine in state.engines]
    shown = state.proven or next(iter(state.engines), None)
    return {
        "is_able": is_able,
        "status": body["status"],
        "error": body.get("error") or body.get("fallback_reason"),
        "is_gpu_proven": state.proven is not None,
        "device": shown and shown.device,
        "device_name": shown and shown.device_name,
        "device_uuid": shown and shown.device_uuid,
        "compute_type": shown and shown.compute_type,
        "model": shown.model if shown else state.default_model,
        "proof_age_seconds": shown and _engine(shown, clock)["proof_age_seconds"],
        "engines": engines,
    }


def _engine(engine: EngineInfo, clock: Clock) -> dict[str, Any]:
    proven_at = engine.proven_at or engine.started_at
    return {
        "device": engine.device,
        "device_name": engine.device_name,
        "device_uuid": engine.device_uuid,
        "model": engine.model,
        "compute_type": engine.compute_type,
        "proof_age_seconds": round(clock.age(proven_at), 1),
    }


def workers_of(seen: Iterable[SeenWorker]) -> list[dict[str, Any]]:
    """Workers for people and programs; a proof has aged since its worker said how old it was."""
    return [
        {"id": each.id, "age_seconds": round(each.age, 1), **_aged(each.facts, each.age)} for each in seen
    ]


def _aged(facts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    aged = dict(facts)
    if aged.get("proof_age_seconds") is not None:
        aged["proof_age_seconds"] = round(aged["proof_age_seconds"] + seconds, 1)
    if "engines" in aged:
        aged["engines"] = [_aged(engine, seconds) for engine in aged["engines"]]
    return aged


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetView:
    """The workers that live, judged under a web node's GPU policy. wants_gpu: requests get the GPU unless they say otherwise."""

    workers: Sequence[Mapping[str, Any]]
    policy: str
    wants_gpu: bool

    @property
    def able(self) -> list[Mapping[str, Any]]:
        """Those that take work."""
        return [worker for worker in self.workers if worker.get("is_able")]

    @property
    def proven(self) -> list[Mapping[str, Any]]:
        """Those that take work on a proven GPU."""
        return [worker for worker in self.able if worker.get("is_gpu_proven")]

    @property
    def is_ready(self) -> bool:
        """Whether a file sent now would be transcribed under the policy."""
        return bool(self.proven if self.policy == "required" else self.able)

    @property
    def status(self) -> str:
        """ok; degraded: the CPU stands in for a wanted GPU, or a worker takes no work; failed: nobody may work."""
        if not self.is_ready:
            return "failed"
        is_short = self.wants_gpu and self.policy != "off" and not self.proven
        return "degraded" if is_short or any(_trouble(worker) for worker in self.workers) else "ok"

    @property
    def fault(self) -> FallbackReason | None:
        """Why nobody may work."""
        if self.is_ready:
            return None
        return FallbackReason(
            code="no_worker",
            message="No worker of the fleet takes work now"
            + (" on a proven GPU." if self.policy == "required" else "."),
            fix="Start one (python -m transcriber worker), or see workers[] for what those say that run.",
        )

    @property
    def problems(self) -> list[FallbackReason]:
        """What is wrong, with the worker that says so."""
        found = [self.fault] if self.fault else []
        for worker in self.workers:
            error = _trouble(worker)
            if error is not None:
                found.append(
                    FallbackReason(
                        code=error["code"],
                        message=f"Worker {worker['id']}: {error['message']}",
                        fix=error.get("fix") or "",
                    )
                )
        return found[:MOST_PROBLEMS]

    @property
    def verdict(self) -> str:
        """One sentence: where jobs run that are sent to this node."""
        if self.fault is not None:
            return (
                f"This web node transcribes nothing itself, and no work is done: {_lower(self.fault.message)}"
            )
        count = len(self.able)
        who = "1 worker does" if count == 1 else f"{count} workers do"
        return f"This web node transcribes nothing itself; {who}: {'; '.join(self._places())}."

    def _places(self) -> list[str]:
        """Where the able workers compute, each place once."""
        places: dict[str, list[Mapping[str, Any]]] = {}
        for worker in self.able:
            places.setdefault(_place(worker), []).append(worker)
        return [f"{len(there)} {place}{_proof(there)}" for place, there in sorted(places.items())]

    def gpu_health(self) -> tuple[bool, dict[str, Any]]:
        """For /health/gpu: whether a worker has a proven GPU, or the policy is off."""
        proven = min(self.proven, key=lambda worker: worker.get("proof_age_seconds") or 0.0, default=None)
        is_well = proven is not None or self.policy == "off"
        body: dict[str, Any] = {
            "status": "ok" if is_well else "failed",
            "gpu_policy": self.policy,
            "fallback_reason": None if is_well else self._missing(),
            "gpu_proven": proven is not None,
        }
        if proven is not None:
            names = ("device_name", "device_uuid", "proof_age_seconds")
            body |= {"worker": proven["id"], "workers_proven": len(self.proven)}
            body |= {name: proven.get(name) for name in names}
        return is_well, body

    def _missing(self) -> dict[str, Any]:
        said = next((error for worker in self.workers if (error := _trouble(worker))), None)
        return dict(said) if said else _NO_GPU

    @property
    def running(self) -> int:
        """Jobs that are worked on."""
        return sum(int(worker.get("running", 0)) for worker in self.workers)


_NO_GPU: dict[str, Any] = {
    "code": "gpu_not_proven",
    "message": "No worker of the fleet has a proven GPU.",
    "fix": "Start a worker on a machine with a GPU (python -m transcriber worker --device cuda).",
}


def _trouble(worker: Mapping[str, Any]) -> Mapping[str, Any] | None:
    error: Mapping[str, Any] | None = worker.get("error")
    if error is not None:
        return error
    if worker.get("is_able") or worker.get("status") == "starting":
        return None
    return {"code": "worker_not_ready", "message": "it takes no work now.", "fix": "See its log."}


def _place(worker: Mapping[str, Any]) -> str:
    if worker.get("is_gpu_proven"):
        return f"on {worker.get('device_name') or 'a GPU'} ({worker.get('compute_type')}"
    if worker.get("device") == "cuda":
        return "on a GPU that is not proven (" + str(worker.get("compute_type"))
    if worker.get("device") == "cpu":
        return f"on the CPU ({worker.get('compute_type')}"
    return "with no engine up (the next job starts one"


def _proof(workers: Sequence[Mapping[str, Any]]) -> str:
    ages = [age for worker in workers if (age := worker.get("proof_age_seconds")) is not None]
    return f", proven {duration(max(ages))} ago)" if ages and workers[0].get("is_gpu_proven") else ")"


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
