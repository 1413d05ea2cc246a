"""docs/gpu-failures.md against the causes that exist, the rows that are staged, and the tests that stage them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from failure_rows import CUINIT_CODES, FAILURES
from transcriber.gpu.probe.fault_codes import CAUSES, CUDA_CODES

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "gpu-failures.md").read_text()
STAGED = re.findall(r"^\| .+ \| `([\w-]+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
ELSEWHERE = re.findall(r"^\| .+ \| (.+) \| `(tests/[\w/.:]+)` \|$", PAGE, re.MULTILINE)


def test_every_staged_failure_has_its_row_with_its_code_and_every_row_is_staged() -> None:
    assert STAGED == [(row.name, row.code) for row in _in_order_of_the_page()]
    assert len({row.name for row in FAILURES}) == len(FAILURES) == len(STAGED)


def _in_order_of_the_page() -> list[object]:
    order = [name for name, _ in STAGED]
    return sorted(FAILURES, key=lambda row: order.index(row.name) if row.name in order else len(order))


@pytest.mark.parametrize("code", sorted({code for _, code in STAGED}))
def test_code_is_in_the_table_of_causes_with_a_fix(code: str) -> None:
    general = re.sub(r"^cuda_error_\d+$", "cuda_error", code)

    assert CAUSES[general].fix


def test_every_code_of_the_driver_that_has_a_meaning_is_staged() -> None:
    codes = {code for _, code in STAGED}

    assert set(CUDA_CODES.values()) <= codes
    assert set(CUINIT_CODES) | {222} == set(CUDA_CODES)


def test_every_cause_of_the_libraries_and_of_the_engine_is_staged_or_named_elsewhere() -> None:
    named = {
        code for row in re.findall(r"^\|.+\|$", PAGE, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    wanted = {
        code
        for code in CAUSES
        if code.startswith(("cublas", "cuda_", "engine_", "ctranslate2_w", "gpu_probe"))
    }

    assert wanted - named <= {"cuda_error"}


@pytest.mark.parametrize(("code", "test"), ELSEWHERE)
def test_test_that_is_named_exists(code: str, test: str) -> None:
    path, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    assert all(found in CAUSES for found in re.findall(r"`(\w+)`", code))


def test_test_of_the_staged_rows_exists() -> None:
    tests = set(re.findall(r"`(tests/integration/http/test_gpu_failures\.py)::(\w+)`", PAGE))

    assert len(tests) == 1
    for path, name in tests:
        assert f"def {name}(" in (ROOT / path).read_text()
    assert len(ELSEWHERE) >= 8


def test_page_is_linked_from_the_gpu_page() -> None:
    assert "(gpu-failures.md)" in (ROOT / "docs" / "gpu.md").read_text()
