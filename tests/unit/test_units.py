"""The systemd unit and its environment file, checked without starting them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from transcriber.config import loader

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd" / "transcriber.service"
EXAMPLE = ROOT / "systemd" / "transcriber.env.example"

#: Directives that DESIGN or a measurement forbids here.
FORBIDDEN = (
    "MemoryDenyWriteExecute",
    "IPAddressDeny",
    "IPAddressAllow",
    "LoadCredential",
)


def check_unit(unit: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing: apt-get install systemd")
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    return subprocess.run(
        [ROOT / "scripts" / "check-unit", unit], capture_output=True, text=True, timeout=60, check=False
    )


def directives() -> list[tuple[str, str]]:
    """Every directive of the unit, in order."""
    lines = [line for line in UNIT.read_text().splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def test_unit_is_understood_and_scores_two_or_less() -> None:
    result = check_unit(UNIT)

    assert result.returncode == 0, result.stdout + result.stderr
    score = re.search(r"exposure level for transcriber.service: ([\d.]+)", result.stdout)
    assert score is not None
    assert float(score[1]) <= 2.0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ProtectHome=yes", "ProtectHom=yes"),
        ("CapabilityBoundingSet=\n", "\n"),
        ("SystemCallFilter=@system-service seccomp\nSystemCallFilter=~@privileged", ""),
    ],
    ids=["misspelt", "capabilities", "calls"],
)
def test_weakened_unit_is_refused(tmp_path: Path, right: str, wrong: str) -> None:
    text = UNIT.read_text()
    assert right in text
    weakened = tmp_path / "transcriber.service"
    weakened.write_text(text.replace(right, wrong))

    assert check_unit(weakened).returncode == 1


def test_each_directive_has_its_reason() -> None:
    """A comment stands above each paragraph of directives."""
    text = UNIT.read_text()
    bare = [
        paragraph
        for paragraph in text.split("\n\n")
        if not paragraph.startswith(("#", "[Install]", "[Unit]\nDescription="))
        and not paragraph.startswith("[Service]\n#")
    ]

    assert bare == []


@pytest.mark.parametrize("name", FORBIDDEN)
def test_directive_that_would_break_the_service_is_absent(name: str) -> None:
    assert name not in dict(directives())


def test_directives_that_the_service_needs() -> None:
    have = dict(directives())

    assert have["Type"] == "notify"
    assert have["OOMPolicy"] == "continue"
    assert have["Requires"] == "transcriber.socket"
    # Fed by server/watchdog.py every five seconds.
    assert int(have["WatchdogSec"]) >= 15
    assert have["ProcSubset"] == "all"
    assert have["PrivateDevices"] == "no"
    assert have["EnvironmentFile"] == "-/etc/transcriber/transcriber.env"


def test_unit_sets_only_settings_that_exist() -> None:
    ours = {
        word
        for name, value in directives()
        if name == "Environment"
        for word in value.split()
        if word.startswith("WHISPER_")
    }

    loader.load(dict(word.split("=", 1) for word in ours))
    assert ours


def test_example_lines_are_settings_with_values_that_are_allowed() -> None:
    lines = re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    known = {name for row in loader.rows_of_settings() for name in row.names}

    assert {name for name, _ in lines} <= known
    assert len(lines) > 10
    loader.load(dict(lines))


def test_example_changes_nothing_until_it_is_edited() -> None:
    assert [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")] == []
