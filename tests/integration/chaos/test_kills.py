"""Short forms of scripts/chaos-kills, crash-points and resume-equal: 120 s together."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos_audio import Audio, long_file, short_files
from chaos_kills import Plan, run_kills
from crash_runs import CRASH_POINTS, run_crashes
from resume_runs import run_resumptions

pytestmark = pytest.mark.model


def test_jobs_survive_kills_of_every_role_exactly_once(models: Path, tmp_path: Path) -> None:
    files = [*short_files(), long_file(tmp_path, 40)]

    counts = run_kills(Plan(jobs=8, kills=6, seed=1, most_pause=0.7), files, models, tmp_path)

    assert counts.faults == []
    assert (counts.succeeded, counts.kills.total()) == (8, 6)


def test_no_crash_point_loses_or_doubles_a_job(models: Path, tmp_path: Path, speech: Audio) -> None:
    plan = [(point, 1) for point in CRASH_POINTS[1::2]]

    counts, not_reached = run_crashes(plan, speech, models, tmp_path, standin=True)

    assert counts.faults + not_reached == []
    assert counts.kills.total() == len(plan)


def test_resumed_job_equals_an_untouched_one(models: Path, tmp_path: Path) -> None:
    audio = long_file(tmp_path, 80)

    result = run_resumptions(1, audio, models, tmp_path)

    assert result.faults == []
    assert result.equal == 1
