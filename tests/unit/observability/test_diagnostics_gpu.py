"""Diagnostics of sharing, memory, compatibility and drift: in the value, in the text and on the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import NOW, make_device, make_engine, make_status, make_status_without_driver
from fakes import FakeApplication, make_application
from transcriber.gpu.drift import diff
from transcriber.gpu.policy import GpuSituation
from transcriber.gpu.probe.sharing import SharingFacts
from transcriber.gpu.snapshot import take
from transcriber.observability.diagnostics import Diagnostics, Sources, collect
from transcriber.observability.diagnostics_text import render_text
from transcriber.web import create_app
from uploading import BROWSER

GB = 1_000_000_000


def _collect(free_bytes: int | None = 2_500_000_000, **changes: Any) -> Diagnostics:
    missing = {} if free_bytes else {"free_bytes": "refused (NVML error 4)"}
    sharing = SharingFacts(free_bytes=free_bytes, other_processes=2, unseen_processes=0, unavailable=missing)
    status = make_status(devices=(make_device(sharing=sharing),))
    return _collect_of(status, **changes)


def _collect_of(status: Any, *, situation: dict[str, Any] | None = None, **changes: Any) -> Diagnostics:
    snapshot = take(status, {"python": "3.11.7"}, {})
    before = replace(snapshot, driver="550.54.15")
    sources = {
        "gpu": GpuSituation(**{"policy": "preferred", "status": status, **(situation or {})}),
        "cpu_compute_type": "int8",
        "now": NOW,
        "age": lambda moment: (NOW - moment).total_seconds(),
        "snapshot": snapshot,
        "changes": diff(before, snapshot),
        "model": "large-v3",
        "batch_size": 8,
    }
    return collect(Sources(**{**sources, **changes}))


def test_snapshot_has_its_hash_and_the_changes_their_effect() -> None:
    diagnostics = _collect()

    assert diagnostics.snapshot is not None
    assert len(diagnostics.snapshot["sha256"]) == 64
    assert diagnostics.snapshot["gpu_name"] == "NVIDIA L4"
    assert [(c["name"], c["before"]) for c in diagnostics.changes if c["name"] == "driver"] == [
        ("driver", "550.54.15")
    ]
    text = render_text(diagnostics)
    assert f"driver: 550.54.15 -> {diagnostics.snapshot['driver']}" in text
    assert diagnostics.changes[0]["effect"] in text
    assert diagnostics.snapshot["sha256"] in text


def test_verdict_of_the_table_is_shown() -> None:
    diagnostics = _collect()

    assert diagnostics.compatibility is not None
    assert diagnostics.compatibility["verdict"] == "known_good"
    assert "compatibility: known_good: CTranslate2 4.8.5" in render_text(diagnostics)


def test_too_little_memory_is_a_problem_with_advice() -> None:
    diagnostics = _collect()

    assert [problem["code"] for problem in diagnostics.problems] == ["gpu_memory_short"]
    advice = "large-v3 float16 needs about 3.9 GB; 2.5 GB is free: use int8_float16 or medium"
    assert advice in diagnostics.problems[0]["message"]
    assert advice in render_text(diagnostics)
    assert diagnostics.status == "ok"


@pytest.mark.parametrize(
    ("free_bytes", "changes"),
    [
        (8 * GB, {}),
        (None, {}),
        (1, {"model": "my-own"}),
        (1, {"model": None}),
        (1, {"snapshot": None}),
        (1, {"situation": {"engines": (make_engine(),)}}),
        (1, {"situation": {"policy": "off"}}),
    ],
)
def test_no_memory_problem_without_need_of_one(free_bytes: int | None, changes: dict[str, Any]) -> None:
    assert _collect(free_bytes, **changes).problems == []


def test_missing_facts_say_why_and_are_no_problem() -> None:
    diagnostics = _collect(None)

    assert diagnostics.problems == []
    assert diagnostics.memory is not None
    assert diagnostics.memory["free_bytes"] is None
    assert "free_bytes: not available here: refused (NVML error 4)" in render_text(diagnostics)


def test_machine_without_gpu_has_a_snapshot_and_nothing_to_judge() -> None:
    diagnostics = _collect_of(make_status_without_driver())

    assert diagnostics.snapshot is not None
    assert (diagnostics.compatibility, diagnostics.sharing, diagnostics.memory) == (None, None, None)
    assert "Sharing and memory" not in render_text(diagnostics)


def test_page_shows_sharing_compatibility_and_changes(tmp_path: Path) -> None:
    diagnostics = _collect()
    application = _Diagnosed(
        service=make_application(tmp_path).service, settings=make_application(tmp_path).settings
    )
    application.found = diagnostics

    page = create_app(application).test_client().get("/diagnostics", headers={"Accept": BROWSER}).text

    shown = page.partition("<textarea")[0]  # the report below repeats all facts
    assert "time-sliced with 2 other processes" in shown
    assert "<strong>known_good</strong>" in shown
    assert "550.54.15" in shown
    assert diagnostics.snapshot is not None and diagnostics.snapshot["sha256"] in shown


@dataclass
class _Diagnosed(FakeApplication):
    """An application with these diagnostics."""

    found: Diagnostics | None = None

    def diagnostics(self) -> Diagnostics:
        return self.found or super().diagnostics()
