"""The real engine child tests itself with real weights, at its start and while it lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine_driver import EngineDriver
from transcriber.engine.selftest.references import SHIPPED

pytestmark = pytest.mark.model

FindModel = Callable[[str], Path]
Start = Callable[..., EngineDriver]


@pytest.fixture(scope="module")
def start(find_model: FindModel) -> Iterator[Start]:
    drivers: list[EngineDriver] = []

    def start_engine(reference: Path | None = SHIPPED / "tiny.en.json", **config: Any) -> EngineDriver:
        path = None if reference is None else str(reference)
        drivers.append(EngineDriver("tiny.en", find_model("tiny.en"), reference_path=path, **config))
        return drivers[-1]

    yield start_engine
    for driver in drivers:
        driver.close()


@pytest.fixture(scope="module")
def engine(start: Start) -> EngineDriver:
    return start()


@pytest.fixture(scope="module")
def ready(engine: EngineDriver) -> dict[str, Any]:
    return engine.start()


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in report["steps"]}


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = report["steps"][2]["numbers"]
    return found


def tampered(folder: Path, **changes: Any) -> Path:
    path = folder / "reference.json"
    path.write_text(json.dumps(json.loads((SHIPPED / "tiny.en.json").read_bytes()) | changes))
    return path


def test_engine_is_ready_with_a_test_that_passed(ready: dict[str, Any]) -> None:
    report = ready["selftest"]

    assert ready["type"] == "ready"
    assert outcomes(report) == {
        "visible": "not_applicable",
        "usable": "not_applicable",
        "computed": "passed",
        "fast": "not_applicable",
    }
    assert (report["device"], report["compute_type"]) == ("cpu", "int8_float32")
    assert numbers(report)["word_errors"] == 0
    assert 0.005 < numbers(report)["difference"] < numbers(report)["tolerance"]
    assert 0 < report["run_seconds"] <= report["seconds"]
    assert ready["reference"] is None


def test_live_engine_tests_itself_when_asked(engine: EngineDriver, ready: dict[str, Any]) -> None:
    engine.send({"type": "selftest", "test_id": 5})

    ended = engine.wait_for(lambda m: m["type"] == "selftest_ended", 60)

    assert ended["test_id"] == 5
    assert outcomes(ended["report"]) == outcomes(ready["selftest"])
    # int8 on a CPU gives the same numbers every time.
    assert numbers(ended["report"]) == numbers(ready["selftest"])
    assert ended["report"]["cold_seconds"] is None


@pytest.mark.parametrize("word", ["numbers", "text"])
def test_engine_that_computes_otherwise_than_the_reference_is_not_ready(
    start: Start, tmp_path: Path, word: str
) -> None:
    values = json.loads((SHIPPED / "tiny.en.json").read_bytes())["values"]
    changes: dict[str, Any] = {"values": [-value for value in values]}
    if word == "text":
        changes = {"text": "Something else altogether was said by someone."}

    failed = start(tampered(tmp_path, **changes), knows_clip=False).start()

    assert failed["type"] == "start_failed"
    assert failed["code"] == {"numbers": "numbers_differ", "text": "words_differ"}[word]
    assert failed["fix"]
    assert outcomes(failed["selftest"])["computed"] == "failed"
    assert outcomes(failed["selftest"])["fast"] == "skipped"


def test_model_without_a_reference_makes_one_that_later_engines_are_held_against(
    start: Start, ready: dict[str, Any], tmp_path: Path
) -> None:
    first = start(None, knows_clip=False).start()
    path = tmp_path / "own.json"
    path.write_text(json.dumps(first["reference"]))

    again = start(path, knows_clip=False).start()

    assert first["type"] == again["type"] == "ready"
    assert "none is known" in numbers(first["selftest"])["reference"]
    assert "not judged" in numbers(first["selftest"])["words"]
    assert first["reference"]["compute_type"] == "int8_float32"
    assert again["reference"] is None
    assert numbers(again["selftest"])["difference"] < 0.001
    assert numbers(again["selftest"])["word_errors"] == 0
