"""The pinned requirements: complete, hashed, and one set of versions. scripts/lock --check compares them with a fresh answer."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("requirements.txt", "requirements-cpu.txt", "requirements-dev.txt", "requirements-models.txt")


def pins(file: str) -> dict[str, set[str]]:
    """For each package the versions that the file pins (markers may choose between several)."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / file).read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def asked(lines: list[str]) -> dict[str, set[str]]:
    return {line.partition("==")[0]: {line.partition("==")[2].partition(" ")[0]} for line in lines}


@pytest.mark.parametrize("file", FILES)
def test_each_pin_has_its_hashes_and_no_line_names_an_index(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]

    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_pins_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    core = asked(project["project"]["dependencies"])
    gpu = asked(project["project"]["optional-dependencies"]["gpu"])
    groups = project["dependency-groups"]

    assert (core | gpu).items() <= pins("requirements.txt").items()
    assert core.items() <= pins("requirements-cpu.txt").items()
    assert (core | asked(groups["dev"])).items() <= pins("requirements-dev.txt").items()
    assert pins("requirements-models.txt") == asked(groups["models"])


def test_sets_agree_and_only_one_has_nvidia() -> None:
    everything, cpu, dev = (pins(file) for file in FILES[:3])

    assert cpu.items() <= everything.items()
    assert cpu.items() <= dev.items()
    assert [name for name in cpu | dev if name.startswith("nvidia")] == []
    assert [name for name in everything if name not in cpu] == sorted(
        n for n in everything if n.startswith("nvidia")
    )
