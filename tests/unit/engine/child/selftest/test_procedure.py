"""The self-test, step by step, on a model and a driver that do what a test tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from transcriber.domain.selftest import FIXES, SelfTestReport, Step
from transcriber.engine.child.arrays import Features, Samples
from transcriber.engine.child.decoding.temperature_fallback import TemperatureAttempt
from transcriber.engine.child.selftest.device_checks import DeviceChecks
from transcriber.engine.child.selftest.procedure import Expectation, SelfTest
from transcriber.engine.child.selftest.reference import Clip, Reference, make_reference

CLIP = Clip(samples=np.zeros(16_000, np.float32), sha256="c" * 64)
NUMBERS = np.random.default_rng(0).normal(0, 1, (1, 1500, 64)).astype(np.float32)
RIGHT = "Ask what you can do for your country."


class Clock:
    """Each pass takes as long as it is told; the last length goes on."""

    def __init__(self, *passes: float) -> None:
        self.seconds = 0.0
        self.passes = list(passes)

    def __call__(self) -> float:
        return self.seconds

    def run(self) -> None:
        self.seconds += self.passes.pop(0) if len(self.passes) > 1 else self.passes[0]


@dataclass
class FakeEncoded:
    device: str
    numbers: Features
    address: int | None = 0x7F00

    def host(self) -> Features:
        return self.numbers


@dataclass
class FakeModel:
    """Gives these numbers and words, on this device."""

    device: str = "cuda"
    numbers: Features = field(default_factory=lambda: NUMBERS)
    text: str = RIGHT
    compute_type: str = "float16"
    is_multilingual: bool = True
    avg_logprob: float = -0.3
    error: Exception | None = None
    clock: Clock = field(default_factory=lambda: Clock(0.1))
    encoded: int = 0

    def log_mel(self, samples: Samples) -> Features:
        return np.zeros((80, 3000), np.float32)

    def encode(self, features: Sequence[Features]) -> Any:
        if self.error is not None:
            raise self.error
        self.encoded += 1
        self.clock.run()
        return FakeEncoded(self.device, self.numbers)

    def detect_languages(self, encoded: Any, rows: Sequence[int]) -> list[tuple[str, float]]:
        return [("en", 0.9)]

    def prompt(self, language: str, task: str, previous: Sequence[int]) -> list[int]:
        return [1, 2, 3]

    def generate(self, *arguments: Any) -> list[TemperatureAttempt]:
        return [
            TemperatureAttempt(
                tokens=(1,),
                avg_logprob=self.avg_logprob,
                no_speech_prob=0.0,
                compression_ratio=1.0,
                temperature=0.0,
            )
        ]

    def decode_text(self, tokens: Sequence[int]) -> str:
        return self.text


@dataclass
class FakeDriver:
    """Finds the output in this kind of memory, and the pool at these sizes in turn."""

    kind: str | None = "device"
    pool: list[int | None] = field(default_factory=lambda: [1_000_000, 1_002_000])

    def find_name(self) -> str:
        return "NVIDIA L4"

    def find_uuid(self) -> str:
        return "GPU-1"

    def locate(self, address: int) -> tuple[str | None, int | None]:
        assert address == 0x7F00
        return self.kind, None if self.kind is None else 0

    def pool_used_bytes(self) -> int | None:
        self.pool.append(self.pool.pop(0))
        return self.pool[-1]


class FakeChecks(DeviceChecks):
    """The first two steps, passed or as told."""

    def __init__(self, driver: FakeDriver | None, failing: str | None = None) -> None:
        self.driver = driver  # type: ignore[assignment]
        self.failing = failing

    def visible(self) -> Step:
        return self._told("visible")

    def usable(self) -> Step:
        return self._told("usable")

    def _told(self, name: str) -> Step:
        if name != self.failing:
            return Step(name=name, outcome="passed")
        return Step(name=name, outcome="failed", code="cuda_error", message="Gone.", fix="Bring it back.")


def reference(**changes: Any) -> Reference:
    return replace(make_reference("base", "float32", CLIP, NUMBERS, RIGHT), **changes)


def run(
    model: FakeModel | None = None,
    *,
    device: str = "cuda",
    driver: FakeDriver | None = None,
    failing: str | None = None,
    known: Reference | None = None,
    knows_clip: bool = True,
    is_cold: bool = False,
) -> SelfTestReport:
    model = model or FakeModel()
    test = SelfTest(
        model=model,
        device=device,
        checks=FakeChecks((driver or FakeDriver()) if device == "cuda" else None, failing),
        clip=CLIP,
        expectation=Expectation(model="base", knows_clip=knows_clip, reference=known or reference()),
        clock=model.clock,
    )
    return test.run(is_cold=is_cold)


def failure(report: SelfTestReport) -> tuple[str, str | None]:
    assert not report.passed
    step = report.failure
    assert step is not None and step.message and step.fix
    return step.name, step.code


def computed(report: SelfTestReport) -> Any:
    return report.steps[2].numbers


def test_healthy_gpu_passes_all_four_steps_with_the_evidence() -> None:
    report = run(is_cold=True)

    assert report.passed
    assert [(step.name, step.outcome) for step in report.steps] == [
        (name, "passed") for name in ("visible", "usable", "computed", "fast")
    ]
    numbers = computed(report)
    assert (numbers["device"], numbers["memory"], numbers["ordinal"]) == ("cuda", "device", 0)
    assert numbers["pool_growth_bytes"] == 2000
    assert numbers["difference"] < 1e-4
    assert (numbers["language"], numbers["word_errors"]) == ("en", 0)


@pytest.mark.parametrize("name", ["visible", "usable"])
def test_first_step_that_fails_ends_the_test(name: str) -> None:
    model = FakeModel()

    report = run(model, failing=name)

    assert failure(report) == (name, "cuda_error")
    assert report.steps[-1].outcome == report.steps[2].outcome == "skipped"
    assert (report.device, report.run_seconds, model.encoded) == ("unknown", None, 0)


@pytest.mark.parametrize(
    ("model", "driver", "code"),
    [
        ({"numbers": NUMBERS * np.nan}, {}, "numbers_not_finite"),
        ({"avg_logprob": float("nan")}, {}, "numbers_not_finite"),
        ({"numbers": np.ones_like(NUMBERS)}, {}, "numbers_differ"),
        ({"numbers": NUMBERS * 1.1}, {}, "numbers_differ"),
        ({"numbers": NUMBERS[:, :, ::-1]}, {}, "numbers_differ"),
        ({"numbers": NUMBERS[:, :40]}, {}, "numbers_differ"),
        ({"text": "!!!!!!!!!!!!!!!"}, {}, "words_differ"),
        ({"text": "Thank you for watching."}, {}, "words_differ"),
        ({"text": ""}, {}, "words_differ"),
        ({"device": "cpu"}, {}, "engine_device_mismatch"),
        ({}, {"kind": "host"}, "engine_device_mismatch"),
        ({}, {"kind": None, "pool": [1000]}, "engine_device_mismatch"),
        ({}, {"kind": None, "pool": [1000, 900]}, "engine_device_mismatch"),
    ],
)
def test_each_fault_of_a_gpu_that_computes_has_its_code(
    model: dict[str, Any], driver: dict[str, Any], code: str
) -> None:
    report = run(FakeModel(**model), driver=FakeDriver(**driver))

    assert failure(report) == ("computed", code)
    assert report.failure is not None and report.failure.fix == FIXES[code]
    assert report.steps[-1].outcome == "skipped"


def test_numbers_within_the_tolerance_of_the_format_pass_and_those_beyond_it_do_not() -> None:
    noise = np.random.default_rng(1).normal(0, 0.03, NUMBERS.shape).astype(np.float32)
    numbers = NUMBERS + noise

    assert run(FakeModel(numbers=numbers, compute_type="float16")).passed
    assert not run(FakeModel(numbers=numbers, compute_type="float32")).passed
    assert run(FakeModel(numbers=NUMBERS + 4 * noise, compute_type="int8_float16")).passed
    coarse = reference(compute_type="int8_float32")
    assert run(FakeModel(numbers=NUMBERS + 4 * noise, compute_type="float16"), known=coarse).passed


def test_a_word_or_two_may_be_wrong() -> None:
    assert run(FakeModel(text="ask, what you can do for you country")).passed


def test_what_the_driver_does_not_say_is_no_failure() -> None:
    report = run(driver=FakeDriver(kind=None, pool=[None]))

    assert report.passed
    assert computed(report)["memory"] is computed(report)["pool_growth_bytes"] is None


@pytest.mark.parametrize("pool", [[1_000_000], [1_000_000, 900_000], [1000]])
@pytest.mark.parametrize("kind", ["device", "unified"])
def test_pool_that_did_not_grow_overrules_no_driver(kind: str, pool: list[int | None]) -> None:
    growth = pool[-1] - pool[0]  # type: ignore[operator]

    report = run(driver=FakeDriver(kind=kind, pool=pool))

    assert report.passed
    assert computed(report)["pool_growth_bytes"] == growth


def test_pool_that_holds_the_output_is_evidence_where_the_driver_does_not_say_though_it_did_not_grow() -> (
    None
):
    assert run(driver=FakeDriver(kind=None, pool=[1_000_000])).passed


def test_pool_that_holds_nothing_is_no_evidence_either_way() -> None:
    assert computed(run(driver=FakeDriver(pool=[0])))["pool_growth_bytes"] is None


def test_exception_while_computing_is_a_finding_with_its_code() -> None:
    report = run(FakeModel(error=RuntimeError("CUDA failed with error out of memory")))

    assert failure(report) == ("computed", "out_of_memory")


def test_speed_is_the_median_of_three_and_the_cold_pass_is_apart() -> None:
    report = run(FakeModel(clock=Clock(9.0, 0.2, 0.9, 0.3)), is_cold=True)

    assert (report.cold_seconds, report.run_seconds) == (9.0, 0.3)
    assert report.steps[3].numbers["passes"] == [0.2, 0.9, 0.3]


def test_live_engine_has_no_cold_pass() -> None:
    model = FakeModel()

    report = run(model)

    assert (report.cold_seconds, report.run_seconds, model.encoded) == (None, 0.1, 3)


def test_cpu_is_tested_in_one_pass_and_its_speed_is_told_not_judged() -> None:
    model = FakeModel(device="cpu", compute_type="int8_float32")

    report = run(model, device="cpu", is_cold=True)

    assert report.passed
    assert model.encoded == 1
    assert report.steps[3].outcome == "not_applicable" and report.steps[3].message
    assert report.run_seconds == report.cold_seconds == 0.1


def test_model_that_may_not_know_english_is_held_against_its_own_words() -> None:
    german = "Fragt, was ihr für euer Land tun könnt."

    own = reference(text=german)

    assert run(FakeModel(text=german), known=own, knows_clip=False).passed
    assert failure(run(FakeModel(text=RIGHT), known=own, knows_clip=False)) == ("computed", "words_differ")


def test_without_a_reference_the_report_says_what_was_not_judged() -> None:
    model = FakeModel(device="cpu", text="…")
    test = SelfTest(
        model=model,
        device="cpu",
        checks=FakeChecks(None),
        clip=CLIP,
        expectation=Expectation(model="own", knows_clip=False),
        clock=model.clock,
    )

    report = test.run()

    assert report.passed
    assert "none is known" in computed(report)["reference"]
    assert "not judged" in computed(report)["words"]
    assert test.reference is not None and test.reference.model == "own"
    assert not any("NaN" in str(value) for value in computed(report).values())
