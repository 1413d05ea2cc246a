"""scripts/audit: pip-audit ends with 0 where it could look nothing up; ours says that nothing was audited."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    loader = SourceFileLoader("audit", str(ROOT / "scripts" / "audit"))
    spec = spec_from_loader("audit", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def report(*packages: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"requirements.txt": {"dependencies": list(packages)}}


CLEAN = {"name": "flask", "version": "3.1.3", "vulns": []}
UNKNOWN = {"name": "av", "skip_reason": "Dependency not found on PyPI and could not be audited: av (18.1.0)"}
BAD = {"name": "jinja2", "version": "3.0.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"]}]}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([CLEAN], 0, "1 packages looked up in 1 files, 0 advisories"),
        ([CLEAN, BAD], 1, "jinja2 3.0.0: PYSEC-1 (mended in 3.1.6)"),
        ([CLEAN, UNKNOWN], 3, "NOT AUDITED: 1 of 2 packages"),
        ([BAD, UNKNOWN], 1, "NOT AUDITED"),
        ([], 3, "NOT AUDITED"),
    ],
)
def test_verdict(
    audit: ModuleType,
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]],
    status: int,
    said: str,
) -> None:
    assert audit.judge(report(*packages)) == status

    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_every_locked_file_is_audited(audit: ModuleType) -> None:
    assert audit.TOOL_PINS in sorted(ROOT.glob("requirements*.txt"))
    assert audit.IGNORED == {} or all(len(reason) > 20 for reason in audit.IGNORED.values())
