"""Short forms of scripts/disk-faults: calls that fail, and data folders in a bad state."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos_audio import Audio
from disk_faults import DATA, FOR_EVER, Fault, Kind
from disk_states import damaged_database, full_disk, mounted, read_only_folder, two_services
from fault_runs import plan_of, run_faults

pytestmark = pytest.mark.model

Require = Callable[..., None]


def test_failing_calls_are_refusals_and_lose_nothing(
    models: Path, tmp_path: Path, speech: Audio, require_tools: Require
) -> None:
    require_tools("gcc")

    counts, run = run_faults(plan_of(60, step=7), speech, models, tmp_path, standin=True)

    assert run.faults + counts.faults == []
    assert run.hit >= 10
    assert run.server.restarts == 0


def test_full_disk_under_the_log_as_well_stops_no_job(
    models: Path, tmp_path: Path, speech: Audio, require_tools: Require
) -> None:
    require_tools("gcc")
    plan = [Fault(DATA | Kind.LOG, errno.ENOSPC, first, FOR_EVER) for first in (1, 25, 45)]

    counts, run = run_faults(plan, speech, models, tmp_path, standin=True)

    assert run.faults + counts.faults == []


@pytest.mark.slow
def test_failing_calls_by_strace(models: Path, tmp_path: Path, speech: Audio, require_tools: Require) -> None:
    require_tools("gcc", "strace")
    kinds = (Kind.WRITE, Kind.SYNC, Kind.OPEN, Kind.NAME)

    counts, run = run_faults(
        plan_of(2, kinds=kinds), speech, models, tmp_path, standin=True, with_strace=True
    )

    assert run.faults + counts.faults == []
    assert run.hit >= 4


@pytest.mark.parametrize("state", [full_disk, read_only_folder])
def test_disk_that_takes_nothing(
    state: Callable[..., list[str]], models: Path, tmp_path: Path, speech: Audio, require_tools: Require
) -> None:
    require_tools("gcc", mounts=True)

    with mounted(tmp_path / "small"):
        assert state(tmp_path / "small", speech, models) == []


@pytest.mark.parametrize("state", [damaged_database, two_services])
def test_store_that_can_not_be_taken(
    state: Callable[..., list[str]], models: Path, tmp_path: Path, speech: Audio
) -> None:
    assert state(tmp_path, speech, models) == []
