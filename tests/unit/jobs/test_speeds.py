"""The measured speed of the machine: over all jobs at once, kept over restarts, never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_ports import FakeClock
from transcriber.jobs.speeds import WARMUP_AUDIO_SECONDS, Speeds, load_speeds, save_speeds


def test_speed_is_that_of_all_jobs_together() -> None:
    clock = FakeClock()
    speeds = Speeds(clock)
    one, other = speeds.begin("cpu", "base"), speeds.begin("cpu", "base")
    clock.seconds = 10.0
    speeds.advance(one, 30.0)
    speeds.advance(other, 20.0)
    speeds.end(one)

    assert speeds.rate("cpu", "base") == pytest.approx(5.0)
    assert speeds.rate("cuda", "base") > speeds.rate("cpu", "base")


def test_newer_measurements_count_more_and_single_ones_do_not_rule() -> None:
    clock = FakeClock()
    speeds = Speeds(clock, {"cpu base": 4.0})
    mark = speeds.begin("cpu", "base")
    clock.seconds = 1.0
    speeds.advance(mark, 40.0)
    speeds.end(mark)

    assert 4.0 < speeds.rate("cpu", "base") < 10.0


def test_moment_says_nothing() -> None:
    clock = FakeClock()
    speeds = Speeds(clock, {"cpu base": 4.0})
    mark = speeds.begin("cpu", "base")
    clock.seconds = 0.1
    speeds.advance(mark, 40.0)
    speeds.end(mark)

    assert speeds.known() == {"cpu base": 4.0}


def test_warm_up_tells_more_than_a_name_and_less_than_a_job() -> None:
    clock = FakeClock()
    speeds = Speeds(clock)
    speeds.suggest("cpu", "base", 0.5)
    assert speeds.rate("cpu", "base") == pytest.approx(WARMUP_AUDIO_SECONDS / 0.5)

    mark = speeds.begin("cpu", "base")
    clock.seconds = 10.0
    speeds.advance(mark, 70.0)
    speeds.end(mark)
    assert speeds.rate("cpu", "base") == pytest.approx(7.0)


def test_speeds_survive_a_restart(tmp_path: Path) -> None:
    save_speeds(tmp_path / "speeds.json", {"cpu base": 4.5})

    assert load_speeds(tmp_path / "speeds.json") == {"cpu base": 4.5}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"cpu base": "fast"}', '{"cpu base": null}'])
def test_damaged_file_is_no_reason_to_fail(tmp_path: Path, text: str) -> None:
    path = tmp_path / "speeds.json"
    path.write_text(text)

    assert load_speeds(path) == {}
    save_speeds(tmp_path / "no such folder" / "speeds.json", {})
