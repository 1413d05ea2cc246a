"""Why a file is no library for this machine, told without loading it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from transcriber.gpu.probe import elf

REAL = Path(sys.executable).resolve().read_bytes()


def test_whole_file_for_this_machine_has_no_fault() -> None:
    assert elf.find_fault(Path(sys.executable)) is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b"INPUT(libcublas.so)", "not an ELF file"),
        (REAL[:40], "truncated"),
        (REAL[:64], "truncated"),
        (REAL[: len(REAL) // 3], "truncated"),
        (REAL[:4] + b"\x01" + REAL[5:], "32-bit"),
        (REAL[:18] + b"\xf3\x00" + REAL[20:], "built for riscv64"),
        (REAL[:18] + b"\xfe\x7f" + REAL[20:], "built for machine 32766"),
    ],
)
def test_fault_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "libcublas.so.12"
    path.write_bytes(content)

    assert fault in str(elf.find_fault(path))


def test_dangling_link_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "libcublas.so.12"
    path.symlink_to("gone")

    assert "can't be read" in str(elf.find_fault(path))
