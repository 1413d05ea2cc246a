"""The book of speeds: the first run sets it, later ones are held against it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fake_gpu import make_engine
from tested_engines import report
from transcriber.domain.selftest import SelfTestReport
from transcriber.engine.selftest.baseline import SpeedBaseline, is_only_slow
from transcriber.system.durable_files import write_small

L4 = make_engine()


@pytest.fixture
def book(tmp_path: Path) -> SpeedBaseline:
    return SpeedBaseline(tmp_path / "selftest" / "speeds.json", write_small)


def took(seconds: float) -> SelfTestReport:
    return replace(report(), run_seconds=seconds)


def test_first_run_sets_the_speed_and_says_so(book: SpeedBaseline) -> None:
    judged = book.judge(L4, took(0.5))
    book.learn(L4, judged)

    assert judged.passed
    assert judged.steps[3].numbers["baseline_seconds"] is None and judged.steps[3].message
    assert book.find(L4) == 0.5


@pytest.mark.parametrize(("seconds", "passes"), [(0.1, True), (1.5, True), (1.51, False), (20.0, False)])
def test_three_times_the_first_run_is_the_limit(book: SpeedBaseline, seconds: float, passes: bool) -> None:
    book.learn(L4, took(0.5))

    judged = book.judge(L4, took(seconds))

    assert judged.passed is passes
    assert is_only_slow(judged) is not passes
    assert judged.steps[3].numbers["baseline_seconds"] == 0.5
    if not passes:
        step = judged.failure
        assert step is not None
        assert (step.name, step.code, bool(step.fix)) == ("fast", "engine_too_slow", True)


def test_later_runs_do_not_move_it(book: SpeedBaseline) -> None:
    book.learn(L4, took(0.5))
    book.learn(L4, took(1.4))

    assert book.find(L4) == 0.5


def test_each_device_model_and_format_has_its_own(book: SpeedBaseline) -> None:
    book.learn(L4, took(0.5))

    for changes in ({"device_uuid": "GPU-2"}, {"model": "large-v3"}, {"compute_type": "float32"}):
        assert book.find(replace(L4, **changes)) is None


def test_a_cpus_speed_is_not_judged(book: SpeedBaseline) -> None:
    cpu = make_engine(device="cpu", device_uuid=None)
    slow = replace(report("slow", "cpu"), run_seconds=99.0)
    book.learn(cpu, slow)

    assert book.judge(cpu, slow) == slow
    assert book.find(cpu) is None


def test_other_failures_are_not_only_slow() -> None:
    assert not is_only_slow(report("nan"))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "x"}', '{"a": -1}'])
def test_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "speeds.json"
    path.write_text(content)
    book = SpeedBaseline(path, write_small)

    assert book.find(L4) is None
    book.learn(L4, took(0.5))
    assert list(json.loads(path.read_bytes()).values()) == [0.5]
