"""What the gate lets pass, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transcriber.cli.gate.judgement import Check, Demands, breaches, judge
from transcriber.cli.gate.measurement import GateLoad, GateReading, Measurement, percentile

REFERENCES = {"one": "He was not an ill-disposed young man,", "two": "unless to be rather cold-hearted"}


def reading(name: str = "one", **changes: object) -> GateReading:
    row = GateReading(
        name=name,
        status=200,
        seconds=0.5,
        text=REFERENCES[name],
        model="base",
        device="cuda",
        compute_type="float16",
        gpu_used=True,
        windows_gpu=1,
        windows_total=1,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


CPU = {"device": "cpu", "gpu_used": False, "windows_gpu": 0, "fallback_code": "driver_missing"}


def measurement(**changes: object) -> Measurement:
    found = Measurement(
        url="http://127.0.0.1:5000",
        verdict="",
        selftest="passed",
        readings=(reading("one"), reading("two")),
        load=GateLoad(clients=4, requests=8, failed=0, p50=0.5, p95=0.8, throughput=20.0),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def failed(
    found: Measurement, demands: Demands | None = None, baseline: Measurement | None = None
) -> list[str]:
    return [check.name for check in _checks(found, demands, baseline) if not check.passed]


def _checks(found: Measurement, demands: Demands | None, baseline: Measurement | None) -> tuple[Check, ...]:
    return judge(found, REFERENCES, demands or Demands(), baseline)


def test_server_as_it_should_be_passes() -> None:
    assert failed(measurement(), Demands(device="gpu", min_utilization=0.0), measurement()) == []


def test_cpu_is_refused_where_the_gpu_is_demanded_with_its_reason() -> None:
    found = measurement(readings=(reading("one", **CPU), reading("two")))

    checks = {check.name: check for check in _checks(found, Demands(device="gpu"), None)}

    assert not checks["runs on the GPU"].passed
    assert "driver_missing" in checks["runs on the GPU"].measured


def test_gpu_is_refused_where_the_cpu_is_demanded() -> None:
    assert failed(measurement(), Demands(device="cpu")) == ["runs on the CPU"]


@pytest.mark.parametrize(
    "lie",
    [{"windows_gpu": 0}, {"windows_total": 0, "windows_gpu": 0}, {"device": "cpu"}, {"gpu_used": False}],
)
def test_facts_that_contradict_each_other_are_refused(lie: dict[str, object]) -> None:
    assert "device facts" in failed(measurement(readings=(reading("one", **lie), reading("two"))))


def test_refused_request_fails_the_gate() -> None:
    assert "answers" in failed(measurement(readings=(reading("one", status=503, text=""), reading("two"))))


def test_other_words_are_refused() -> None:
    other = measurement(readings=(reading("one", text="He was an ill-disposed old man,"), reading("two")))

    assert failed(other, None, measurement()) == ["same words as the baseline"]


def test_words_that_are_none_of_the_book_are_refused_without_a_baseline() -> None:
    found = measurement(readings=(reading("one", text="Thank you for watching"), reading("two", text="")))

    assert failed(found) == ["words"]


def test_three_times_slower_is_refused() -> None:
    slow = measurement(load=GateLoad(clients=4, requests=8, failed=0, p50=1.5, p95=2.4, throughput=6.7))

    assert failed(slow, None, measurement()) == ["latency p50", "latency p95", "throughput"]


def test_other_model_than_the_baseline_is_said() -> None:
    small = measurement(readings=(reading("one", model="small"), reading("two", model="small")))

    assert failed(small, None, measurement()) == ["same model as the baseline"]


def test_idle_gpu_is_refused_where_a_floor_is_set() -> None:
    load = GateLoad(clients=4, requests=8, failed=0, p50=0.5, p95=0.8, throughput=20.0, utilization=0.05)

    assert failed(measurement(load=load), Demands(min_utilization=0.3)) == ["GPU utilisation"]
    assert failed(measurement(), Demands(min_utilization=0.3)) == ["GPU utilisation"]


@pytest.mark.parametrize("outcome", ["failed", "slow", "skipped", "no answer"])
def test_self_test_that_did_not_pass_fails_the_gate(outcome: str) -> None:
    assert failed(measurement(selftest=outcome)) == ["self-test"]


def test_answers_of_a_live_server_are_held_against_the_gate() -> None:
    gated, demands = measurement(), Demands(device="gpu")

    assert breaches(reading(), gated, demands) == []
    assert "503" in breaches(reading(status=503), gated, demands)[0]
    assert "driver_missing" in breaches(reading(**CPU), gated, demands)[0]
    assert "words" in breaches(reading(text="something else"), gated, demands)[0]
    assert "took" in breaches(reading(seconds=9.0), gated, demands)[0]


def test_percentile_is_by_nearest_rank() -> None:
    values = [float(number) for number in range(1, 21)]

    assert [percentile(values, percent) for percent in (50, 95, 99)] == [10.0, 19.0, 20.0]
    assert percentile([], 50) == 0.0
