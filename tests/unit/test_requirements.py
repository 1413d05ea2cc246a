"""The pinned requirements: complete, hashed, and one set of versions. scripts/lock --check compares them with a fresh answer."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = tuple(f"requirements{name}.txt" for name in ("", "-cpu", "-dev", "-models", "-tools", "-audit"))


def pins(file: str) -> dict[str, set[str]]:
    """For each package the versions that the file pins (markers may choose between several)."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / file).read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def asked(lines: list[str]) -> dict[str, set[str]]:
    return {
        line.partition("==")[0].partition("[")[0]: {line.partition("==")[2].partition(" ")[0]}
        for line in lines
    }


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


@pytest.mark.parametrize("file", FILES[:4])
def test_every_python_gets_the_same_versions(file: str) -> None:
    """What one Python alone would get, no test on another has run. A split needs an end in scripts/test-pythons on each side."""
    lines = re.findall(r"^([a-z0-9-]+)==[^;\n]+;([^\\\n]+)", (ROOT / file).read_text(), re.MULTILINE)
    linux = [
        (name, marker)
        for name, marker in lines
        if not re.search(r"sys_platform == '(win32|emscripten)'", marker)
    ]

    assert [name for name, versions in pins(file).items() if len(versions) > 1] == []
    assert [
        name for name, marker in linux if "python" in marker.replace("platform_python_implementation", "")
    ] == []


def test_promised_pythons_are_named_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = [c.rpartition(" ")[2] for c in project["classifiers"]]
    script = (ROOT / "scripts" / "test-pythons").read_text()
    newest = int(promised[-1].partition(".")[2])

    assert project["requires-python"] == f">={promised[0]},<3.{newest + 1}"
    assert f"promised='{' '.join(promised)}'" in script
    for file in ("README.md", "docs/quickstart.md", "scripts/find-python"):
        named = set(re.findall(r"(?<![\d.])3\.1\d(?!\d)", (ROOT / file).read_text()))
        assert set(promised) <= named, file
