"""What a web node says of its workers: where jobs run, what proves it, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from fake_gpu import NOW, make_engine
from fake_ports import FakeClock
from metrics_example import make_job, on_gpu
from transcriber.domain.errors import EngineCrashedError, JobCancelledError
from transcriber.observability.fleet import FleetView, WorkerHistory, WorkerState, describe_worker, workers_of

FAULT = {"code": "cuda_error_719", "message": "The GPU failed.", "fix": "Restart the machine."}


@dataclass(frozen=True)
class Seen:
    id: str
    age: float
    facts: dict[str, Any] = field(default_factory=dict)


def worker(name: str = "a", **facts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "id": name,
        "is_able": True,
        "status": "ok",
        "error": None,
        "is_gpu_proven": False,
        "device": "cpu",
        "device_name": None,
        "compute_type": "int8_float32",
        "proof_age_seconds": 5.0,
        "running": 1,
    }
    return known | facts


GPU = {"is_gpu_proven": True, "device": "cuda", "device_name": "NVIDIA L4", "compute_type": "float16"}
DRAINED = {"is_able": False, "status": "failed", "error": FAULT, "device": None}


def view(*workers: dict[str, Any], policy: str = "preferred", wants_gpu: bool = True) -> FleetView:
    return FleetView(workers=workers, policy=policy, wants_gpu=wants_gpu)


@pytest.mark.parametrize(
    ("workers", "policy", "status", "says"),
    [
        ([worker(**GPU)], "preferred", "ok", "1 worker does: 1 on NVIDIA L4 (float16, proven 5 s ago)."),
        (
            [worker(**GPU), worker("b", **GPU, proof_age_seconds=90.0), worker("c")],
            "required",
            "ok",
            "3 workers do: 2 on NVIDIA L4 (float16, proven 1 min ago); 1 on the CPU (int8_float32).",
        ),
        ([worker()], "preferred", "degraded", "1 worker does: 1 on the CPU (int8_float32)."),
        ([worker()], "off", "ok", "1 on the CPU (int8_float32)."),
        ([worker()], "required", "failed", "no worker of the fleet takes work now on a proven GPU."),
        ([worker(**GPU), worker("b", **DRAINED)], "preferred", "degraded", "1 worker does: 1 on NVIDIA L4"),
        ([worker(device=None)], "off", "ok", "1 with no engine up"),
        (
            [worker(**(GPU | {"is_gpu_proven": False}))],
            "off",
            "ok",
            "1 on a GPU that is not proven (float16)",
        ),
        ([], "off", "failed", "no worker of the fleet takes work now."),
    ],
)
def test_verdict_says_where_jobs_run(
    workers: list[dict[str, Any]], policy: str, status: str, says: str
) -> None:
    seen = view(*workers, policy=policy)

    assert seen.verdict.startswith("This web node transcribes nothing itself")
    assert says in seen.verdict
    assert seen.status == status
    assert seen.is_ready is (status != "failed")


def test_worker_that_takes_no_work_is_named_with_its_reason() -> None:
    problems = view(worker("gpu-7", **DRAINED), worker("cpu-1")).problems

    assert [(p.code, p.message, p.fix) for p in problems] == [
        ("cuda_error_719", "Worker gpu-7: The GPU failed.", "Restart the machine.")
    ]


def test_worker_that_starts_is_no_trouble_and_does_no_work() -> None:
    starting = worker(is_able=False, status="starting", error=None)

    assert [problem.code for problem in view(starting).problems] == ["no_worker"]


def test_gpu_health_is_that_of_the_youngest_proof() -> None:
    seen = view(worker("a", **GPU, proof_age_seconds=60.0), worker("b", **GPU), worker("c"))

    is_well, body = seen.gpu_health()

    assert is_well and body["gpu_proven"]
    assert (body["worker"], body["workers_proven"], body["proof_age_seconds"]) == ("b", 2, 5.0)


def test_gpu_health_without_a_gpu_gives_the_worker_s_reason() -> None:
    assert view(worker(), worker("b", **DRAINED)).gpu_health()[1]["fallback_reason"] == FAULT
    assert view(worker()).gpu_health()[1]["fallback_reason"]["code"] == "gpu_not_proven"
    assert view(worker(), policy="off").gpu_health()[0]


def test_proof_ages_while_the_worker_is_silent() -> None:
    facts = {"proof_age_seconds": 5.0, "engines": [{"proof_age_seconds": 7.0}, {"proof_age_seconds": None}]}

    (shown,) = workers_of([Seen("a", 3.04, facts)])

    assert (shown["id"], shown["age_seconds"], shown["proof_age_seconds"]) == ("a", 3.0, 8.0)
    assert [engine["proof_age_seconds"] for engine in shown["engines"]] == [10.0, None]


def test_worker_describes_itself_by_its_proof() -> None:
    clock = FakeClock()
    clock.seconds = (NOW - clock.now()).total_seconds() + 12
    state = WorkerState(
        ready=(True, {"status": "ok", "fallback_reason": None}),
        proven=make_engine(),
        engines=(make_engine(device="cpu"), make_engine()),
        default_model="base",
    )

    facts = describe_worker(state, clock)

    assert (facts["device"], facts["device_name"], facts["is_gpu_proven"]) == ("cuda", "NVIDIA L4", True)
    assert facts["proof_age_seconds"] == 12.0
    assert [engine["device"] for engine in facts["engines"]] == ["cpu", "cuda"]


def test_worker_without_an_engine_names_its_model() -> None:
    fault = (False, {"status": "failed", "error": FAULT})
    facts = describe_worker(
        WorkerState(ready=fault, proven=None, engines=(), default_model="base"), FakeClock()
    )

    assert (facts["is_able"], facts["error"], facts["device"], facts["model"]) == (False, FAULT, None, "base")


def test_counts_counts_by_the_evidence() -> None:
    clock = FakeClock()
    counts = WorkerHistory(clock)
    counts.note_job(make_job(), on_gpu(), None)
    counts.note_job(make_job(), None, EngineCrashedError())
    counts.note_job(make_job(), None, JobCancelledError())
    clock.seconds += 4

    assert counts.facts() == {
        "jobs": {"succeeded": 1, "failed": 1, "cancelled": 1},
        "audio_seconds": {"cuda": 10.0},
        "windows": {"cuda": 4, "cpu": 0},
        "last_job": {"id": "job_secret", "age_seconds": 4.0},
    }
