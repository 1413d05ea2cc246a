"""The self-test's first steps, with real shared libraries that are stand-ins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fake_gpu import build_cublas, compile_library
from transcriber.engine.child.selftest.device_checks import DeviceChecks

SOURCES = Path(__file__).parents[5] / "flask-app"

#: In a process of its own, since libraries stay loaded: the step's outcome, code, version and message.
_CHECK = """
import sys
from transcriber.engine.child.selftest.device_checks import DeviceChecks
checks = DeviceChecks(device="cuda", compute_types=lambda: (), open_driver=lambda: None, libraries=sys.argv[1:])
step = checks.usable()
print(step.outcome, step.code, step.numbers.get("cublas"), step.numbers.get("path"), step.message, sep="|")
"""


def usable(*libraries: Path, search: Path | None = None) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, *map(str, libraries)],
        env={"PYTHONPATH": str(SOURCES), "LD_LIBRARY_PATH": str(search or "")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip().split("|")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cublas")
    build_cublas(root / "good")
    build_cublas(root / "wrong", major=13)
    (root / "broken").mkdir()
    (root / "broken" / "libcublas.so.12").write_text("no library")
    return root


def pair(folder: Path) -> tuple[Path, Path]:
    return folder / "libcublasLt.so.12", folder / "libcublas.so.12"


def test_chosen_pair_is_pinned_by_its_path_whatever_lies_on_the_search_path(libraries: Path) -> None:
    outcome, code, version, path, _ = usable(*pair(libraries / "good"), search=libraries / "wrong")

    assert (outcome, code, version) == ("passed", "None", "12.9.1")
    assert path == str(libraries / "good" / "libcublas.so.12")


@pytest.mark.parametrize(("folder", "code"), [("wrong", "cublas_wrong_version"), ("broken", "cublas_broken")])
def test_each_fault_of_the_library_has_its_code(libraries: Path, folder: str, code: str) -> None:
    assert usable(libraries / folder / "libcublas.so.12")[:2] == ["failed", code]


def test_no_library_anywhere_is_named(tmp_path: Path) -> None:
    assert usable(search=tmp_path)[:2] == ["failed", "cublas_broken"]


def test_library_that_is_not_the_chosen_one_is_caught(libraries: Path, tmp_path: Path) -> None:
    # A file of the chosen name whose own soname is another: the loader then takes what the search path has.
    other = compile_library("fakecublas.c", tmp_path / "libother.so", "-DMAJOR=12")
    chosen = tmp_path / "libcublas.so.12"
    other.rename(chosen)

    outcome, code, _, path, message = usable(chosen, search=libraries / "good")

    assert (outcome, code) == ("failed", "cublas_not_the_chosen")
    assert str(chosen) in message


def test_cpu_needs_neither_driver_nor_libraries() -> None:
    checks = DeviceChecks(device="cpu", compute_types=lambda: 1 / 0, open_driver=lambda: None, libraries=())

    assert {checks.visible().outcome, checks.usable().outcome} == {"not_applicable"}


def test_ctranslate2s_own_words_are_the_finding() -> None:
    def refuse() -> tuple[str, ...]:
        raise RuntimeError("CUDA failed with error no CUDA-capable device is detected")

    step = DeviceChecks(device="cuda", compute_types=refuse, open_driver=lambda: None, libraries=()).visible()

    assert (step.outcome, step.code) == ("failed", "cuda_error")
    assert step.message is not None and "no CUDA-capable device" in step.message
