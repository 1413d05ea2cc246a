"""How sharing is put into words, NVML's numbers, and processes as /proc shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from transcriber.gpu.probe.nvml import signs_of_mps
from transcriber.gpu.probe.nvml_errors import NVML_ERRORS, meaning
from transcriber.gpu.probe.processes import is_descendant, name_of, runs_here
from transcriber.gpu.probe.sharing import SharingFacts, describe

DOCUMENT = Path(__file__).parents[4] / "docs/gpu-operations.md"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"other_processes": 0}, "no other process on it"),
        ({"other_processes": 1, "unseen_processes": 0}, "time-sliced with 1 other process"),
        (
            {"other_processes": 3, "unseen_processes": 2},
            "time-sliced with 3 other processes, 2 of them not visible from here",
        ),
        ({"other_processes": 0, "mig_profile": "1g.10gb"}, "a MIG slice 1g.10gb; no other process on it"),
        ({"other_processes": 0, "mig_mode": "on"}, "MIG is on; no other process on it"),
        ({"other_processes": 0, "virtualization": "vgpu"}, "a vGPU; no other process on it"),
        (
            {"other_processes": 0, "compute_mode": "exclusive_process"},
            "compute mode exclusive_process; no other process on it",
        ),
        (
            {"other_processes": 1, "mps_signs": ("/tmp/nvidia-mps is there",)},
            "MPS (/tmp/nvidia-mps is there): NVML shows its server in place of the programs",
        ),
        (
            {"is_wsl": True, "unavailable": {"nvml": "no library"}},
            "shared with Windows (WSL); other processes not known: no library",
        ),
        ({"unavailable": {"other_processes": "refused"}}, "other processes not known: refused"),
        ({}, "other processes not known: NVML was not asked"),
    ],
)
def test_sharing_in_words(facts: dict[str, Any], words: str) -> None:
    assert describe(SharingFacts(**facts)) == words


@pytest.mark.parametrize("code", [3, 4, 9, 12, 15, 16, 18, 999])
def test_each_number_of_nvml_has_its_meaning_in_the_docs(code: int) -> None:
    assert f"| {code} | {NVML_ERRORS[code]} |" in DOCUMENT.read_text()
    assert meaning(code) == f"{NVML_ERRORS[code]} (NVML error {code})"


def test_meanings_differ_and_an_unknown_number_is_shown() -> None:
    assert len(set(NVML_ERRORS.values())) == len(NVML_ERRORS)
    assert meaning(4242) == "NVML answered with an error (NVML error 4242)"


def test_own_processes_are_known_as_such() -> None:
    assert is_descendant(os.getpid(), os.getppid())
    assert is_descendant(os.getpid(), os.getpid())
    assert not is_descendant(os.getppid(), os.getpid())
    assert not is_descendant(2**22 + 1, os.getpid())


def test_processes_that_are_not_here_have_no_name() -> None:
    assert runs_here(os.getpid()) and name_of(os.getpid())
    assert not runs_here(2**22 + 1)
    assert name_of(2**22 + 1) == ""


def test_mps_shows_by_its_variable_or_its_folder(tmp_path: Path) -> None:
    assert signs_of_mps({}, tmp_path) == []
    assert signs_of_mps({"CUDA_MPS_PIPE_DIRECTORY": "/x"}, tmp_path) == ["CUDA_MPS_PIPE_DIRECTORY=/x"]
    (tmp_path / "tmp/nvidia-mps").mkdir(parents=True)
    assert signs_of_mps({}, tmp_path) == []
    (tmp_path / "tmp/nvidia-mps/control").touch()
    assert signs_of_mps({}, tmp_path) == ["/tmp/nvidia-mps is there"]
