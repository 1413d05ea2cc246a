"""The canary: when engines are tested, and what follows from what is found."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from fake_ports import FakeClock
from tested_engines import FakePool, TestableEngine, engine_of, report
from transcriber.domain.errors import (
    EngineCrashedError,
    EngineFailedError,
    EngineStartError,
    TranscriberError,
)
from transcriber.domain.ports import EngineInfo
from transcriber.engine.pool import ChildEnginePool
from transcriber.engine.selftest.baseline import SpeedBaseline
from transcriber.engine.selftest.health_check import HealthCheck, HealthFinding, HealthListeners
from transcriber.system.durable_files import write_small

INTERVAL = 300.0


@dataclass
class Bench:
    """A canary over these engines, and all that it told."""

    canary: HealthCheck
    pool: FakePool
    clock: FakeClock
    speeds: SpeedBaseline
    findings: list[tuple[str, HealthFinding]] = field(default_factory=list)
    #: Which of them are the word on their device from then on.
    stands: list[bool] = field(default_factory=list)
    condemned: list[tuple[EngineInfo, TranscriberError]] = field(default_factory=list)
    without_room: list[EngineInfo] = field(default_factory=list)

    @property
    def outcomes(self) -> list[str]:
        return [finding.outcome for _, finding in self.findings]

    def after(self, seconds: float) -> list[str]:
        """The outcomes of what is tested when so much time has passed."""
        self.clock.seconds += seconds
        before = len(self.findings)
        self.canary.round()
        return self.outcomes[before:]


def bench(folder: Path, *engines: TestableEngine, interval: float = INTERVAL) -> Bench:
    clock, pool = FakeClock(), FakePool(list(engines))
    speeds = SpeedBaseline(folder / "speeds.json", write_small)
    findings: list[tuple[str, HealthFinding]] = []
    told: list[bool] = []
    condemned: list[tuple[EngineInfo, TranscriberError]] = []
    without_room: list[EngineInfo] = []
    canary = HealthCheck(
        engines=pool,
        speeds=speeds,
        clock=clock,
        interval=interval,
        timeout=1.0,
        tell=HealthListeners(
            observe=lambda device, finding, stands: findings.append((device, finding)) or told.append(stands),
            condemned=lambda info, error: condemned.append((info, error)),
            has_no_room=without_room.append,
        ),
    )
    for engine in engines:
        assert engine.info.selftest is not None
        speeds.learn(engine.info, engine.info.selftest)
        canary.admitted(engine.info, engine.info.selftest)
    findings.clear()
    told.clear()
    return Bench(canary, pool, clock, speeds, findings, told, condemned, without_room)


def test_engine_is_tested_at_the_interval_from_its_admission_on(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of())

    assert b.after(INTERVAL - 1) == []
    assert b.after(1) == ["passed"]
    assert b.after(1) == []
    assert b.after(INTERVAL) == ["passed"]
    assert b.pool.discarded == []


def test_each_engine_that_is_up_is_tested(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of(), engine_of("cpu", pid=2))

    assert b.after(INTERVAL) == ["passed", "passed"]
    assert {device for device, _ in b.findings} == {"cuda", "cpu"}


def test_slow_engine_is_tested_no_more_than_two_percent_of_the_time(tmp_path: Path) -> None:
    engine = engine_of("cpu")
    b = bench(tmp_path, engine)

    def take_twenty_seconds() -> None:
        b.clock.seconds += 20

    engine.on_test = take_twenty_seconds
    assert b.after(INTERVAL) == ["passed"]
    assert b.after(INTERVAL) == []
    assert b.after(700) == ["passed"]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("nan", "numbers_not_finite"),
        ("differ", "numbers_differ"),
        ("words", "words_differ"),
        (EngineFailedError("Silent.", code="selftest_timeout"), "selftest_timeout"),
    ],
)
def test_engine_that_is_unfit_is_ended_with_its_code_and_its_fix(
    tmp_path: Path, word: str | TranscriberError, code: str
) -> None:
    engine = engine_of("cuda", word)
    b = bench(tmp_path, engine)

    assert b.after(INTERVAL) == ["failed"]
    [(discarded, error)] = b.pool.discarded
    assert discarded is engine
    assert isinstance(error, EngineStartError)
    assert (error.code, bool(error.fix)) == (code, True)
    assert b.condemned == [(engine.info, error)]
    finding = b.findings[0][1]
    assert (finding.code, bool(finding.message), bool(finding.fix)) == (code, True, True)


def test_engine_without_room_on_the_gpu_makes_way_for_a_lighter_one_and_is_no_fault(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cuda", "memory"))

    assert b.after(INTERVAL) == ["failed"]
    assert b.findings[0][1].code == "cuda_out_of_memory"
    assert [info.device for info in b.without_room] == ["cuda"]
    [(_, error)] = b.pool.discarded
    assert error is not None and error.code == "cuda_out_of_memory"
    assert (b.pool.revived, b.condemned) == (1, [])


def test_cpu_engine_without_memory_is_unfit(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cpu", "memory"))

    assert b.after(INTERVAL) == ["failed"]
    assert (len(b.condemned), b.without_room) == (1, [])


def test_engine_that_is_slow_once_is_tested_again_soon_and_kept_if_it_was_chance(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cuda", "slow", "pass"))

    assert b.after(INTERVAL) == ["slow"]
    assert b.after(9) == []
    assert b.after(1) == ["passed"]
    assert b.after(10) == []
    assert b.pool.discarded == []


def test_slow_engine_has_proven_the_gpu_all_the_same(tmp_path: Path) -> None:
    engine = engine_of("cuda", "slow")
    b = bench(tmp_path, engine)
    renewed = b.clock.now() + timedelta(seconds=7)

    def renew() -> None:
        # As the engine's client does when device, numbers and words are right.
        engine.info = replace(engine.info, proven_at=renewed)

    engine.on_test = renew
    assert b.canary.last_proof != renewed
    assert b.after(INTERVAL) == ["slow"]

    assert b.canary.last_proof == engine.info.proven_at == renewed


def test_engine_that_is_slow_twice_in_a_row_is_ended(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cuda", "slow"))

    assert b.after(INTERVAL) + b.after(10) == ["slow", "failed"]
    [(_, error)] = b.pool.discarded
    assert error is not None and error.code == "engine_too_slow"


def test_slow_now_and_slow_much_later_is_not_in_a_row(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cuda", "slow", "pass", "slow", "pass"))

    assert b.after(INTERVAL) + b.after(10) + b.after(INTERVAL) + b.after(10) == [
        "slow",
        "passed",
        "slow",
        "passed",
    ]
    assert b.pool.discarded == []


def test_engine_that_goes_while_it_is_tested_is_the_pools_matter(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cuda", EngineCrashedError("It was ended to make room.")))

    assert b.after(INTERVAL) == ["skipped"]
    assert b.pool.discarded == b.condemned == []


def test_where_no_engine_is_up_nothing_is_tested_and_the_last_proof_is_dated(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of())
    b.after(INTERVAL)
    b.pool.up.clear()

    assert b.after(INTERVAL) == []
    finding = b.canary.test_now()
    assert finding.outcome == "skipped"
    assert finding.proven_at == b.findings[0][1].proven_at is not None
    assert finding.message is not None and "starts none" in finding.message
    assert b.canary.last_proof is not None


def test_asked_for_it_tests_the_gpus_engine_first_and_the_other_by_name(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cpu", pid=2), engine_of("cuda"))

    assert b.canary.test_now().device == "cuda"
    assert b.canary.test_now("cpu").device == "cpu"
    assert b.canary.test_now("cuda").to_dict()["steps"][2]["outcome"] == "passed"


def test_engine_that_claims_the_gpu_and_computes_on_the_cpu_is_ended(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of("cuda", "cpu"))

    assert b.after(INTERVAL) == ["failed"]
    assert b.pool.discarded[0][1] is not None
    assert b.findings[0][1].code == "engine_device_mismatch"


def test_those_who_ask_while_a_test_runs_share_the_next_one(tmp_path: Path) -> None:
    engine = engine_of()
    b = bench(tmp_path, engine)
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(20)
        b.clock.seconds += 1

    engine.on_test = hold
    found: list[HealthFinding] = []
    asked = [threading.Thread(target=lambda: found.append(b.canary.test_now())) for _ in range(5)]
    asked[0].start()
    assert begun.wait(20)
    for thread in asked[1:]:
        thread.start()
    go.set()
    for thread in asked:
        thread.join(20)

    assert [finding.outcome for finding in found] == ["passed"] * 5
    assert engine.tests <= 2


def test_start_that_failed_shows_its_steps(tmp_path: Path) -> None:
    b = bench(tmp_path)
    error = EngineStartError("Numbers.", code="numbers_differ", fix="Mend it.")
    b.canary.refused("cuda", "base", error)
    assert b.canary.facts() == []
    engine = engine_of()
    error.selftest = engine.info.selftest and replace(engine.info.selftest)

    b.canary.refused("cuda", "base", error)

    [fact] = b.canary.facts()
    assert (fact["outcome"], fact["code"], fact["engine_pid"]) == ("failed", "numbers_differ", None)
    assert b.findings[0][0] == "cuda"


def test_without_an_interval_nothing_is_tested_but_what_was_slow_when_it_was_asked(tmp_path: Path) -> None:
    engine = engine_of("cuda", "slow", "pass")
    b = bench(tmp_path, engine, interval=0)

    assert b.after(10 * INTERVAL) == []
    assert b.canary.test_now().outcome == "slow"
    assert b.after(10) == ["passed"]
    assert b.after(10 * INTERVAL) == []


def test_model_that_is_refused_beside_one_that_serves_is_not_the_word_on_the_gpu(tmp_path: Path) -> None:
    b = bench(tmp_path, engine_of())
    error = EngineStartError("Numbers.", code="numbers_differ", fix="Mend it.")
    error.selftest = report("differ")

    b.canary.refused("cuda", "large-v3", error)
    b.pool.up.clear()
    b.canary.refused("cuda", "base", error)

    assert (b.outcomes, b.stands) == (["failed", "failed"], [False, True])


def test_canary_neither_keeps_an_idle_engine_nor_wakes_an_unloaded_one(tmp_path: Path) -> None:
    """Over the real pool: its tests are no use of an engine, and what rests keeps its proof."""
    clock, started = FakeClock(), []

    def launch(device: str, model: str) -> TestableEngine:
        started.append(engine_of(device))
        return started[-1]

    pool = ChildEnginePool(launch=launch, max_engines=1, clock=clock, ttl=2.5 * INTERVAL)
    canary = HealthCheck(
        engines=pool,
        speeds=SpeedBaseline(tmp_path / "speeds.json", write_small),
        clock=clock,
        interval=INTERVAL,
        timeout=1.0,
        tell=HealthListeners(
            observe=lambda device, finding: None,
            condemned=lambda info, error: None,
            has_no_room=lambda info: None,
        ),
    )
    pool.ensure("cpu", "base")
    outcomes = []
    for _ in range(4):
        clock.seconds += INTERVAL
        canary.round()
        pool.tend()
        outcomes.append(len(pool.engines()))

    assert outcomes == [1, 1, 0, 0]
    assert len(started) == 1
    last = canary.test_now()
    assert (last.outcome, last.proven_at is not None) == ("skipped", True)
    assert pool.engines() == ()
    pool.close()
