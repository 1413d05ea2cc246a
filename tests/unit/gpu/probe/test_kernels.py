"""CTranslate2's kernels, read from fatbin headers: synthetic files, damaged ones, and the installed wheel."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from transcriber.gpu.probe.ctranslate2_package import describe_package
from transcriber.gpu.probe.kernels import Kernels, code_for, find_kernels

WHEEL = Kernels(machine_code=("6.0", "7.0", "7.5", "8.0", "8.6"), ptx=("8.6",), ptx_isa="8.7")


def _entry(kind: int, architecture: int, isa: tuple[int, int] = (1, 7), content: bytes = b"x" * 24) -> bytes:
    head = struct.pack("<HHIQQHHI", kind, 0x101, 64, len(content), 0, isa[1], isa[0], architecture)
    return head.ljust(64, b"\0") + content


def _fatbin(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def _write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "library.so"
    path.write_bytes(content)
    return path


def test_machine_code_and_ptx_of_all_fatbins_are_found(tmp_path: Path) -> None:
    first = _fatbin(_entry(2, 70), _entry(1, 86, (8, 7)))
    second = _fatbin(_entry(2, 120), _entry(2, 70), _entry(1, 86, (8, 10)))

    kernels = find_kernels(_write(tmp_path, b"\x7fELF" + first + b"between" + second + b"after"))

    assert kernels == Kernels(machine_code=("7.0", "12.0"), ptx=("8.6",), ptx_isa="8.10")


def test_entries_of_an_unknown_kind_are_passed_over(tmp_path: Path) -> None:
    kernels = find_kernels(_write(tmp_path, _fatbin(_entry(8, 99), _entry(2, 80))))

    assert kernels.machine_code == ("8.0",)


@pytest.mark.parametrize(
    "content",
    [
        b"no CUDA in here",
        b"\x50\xed\x55\xba",
        _fatbin(_entry(2, 80))[:-30],
        struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 2**63) + _entry(2, 80),
        struct.pack("<IHHQ", 0xBA55ED50, 9, 16, 90) + _entry(2, 80),
        _fatbin(struct.pack("<HHIQQHHI", 2, 0, 0, 0, 0, 0, 0, 80).ljust(64, b"\0")),
    ],
)
def test_damaged_headers_say_nothing_and_end(tmp_path: Path, content: bytes) -> None:
    assert find_kernels(_write(tmp_path, content)) == Kernels()


@pytest.mark.parametrize(
    ("capability", "code"),
    [
        ("5.2", "none"),
        ("6.0", "machine code 6.0"),
        ("6.1", "machine code 6.0"),
        ("7.5", "machine code 7.5"),
        ("8.9", "machine code 8.6"),
        ("9.0", "PTX 8.6 (ISA 8.7), compiled by the driver"),
        ("12.0", "PTX 8.6 (ISA 8.7), compiled by the driver"),
    ],
)
def test_code_for_a_card(capability: str, code: str) -> None:
    assert code_for(WHEEL, capability) == code


def test_without_kernels_nothing_is_said() -> None:
    assert code_for(Kernels(), "8.0") is None


def test_installed_wheel_has_what_the_docs_say() -> None:
    facts = describe_package()

    if not facts.cuda_compiled:
        pytest.skip("this CTranslate2 was built without CUDA")
    assert set(WHEEL.machine_code) <= set(facts.kernels.machine_code)
    assert (facts.kernels.ptx, facts.kernels.ptx_isa) == (("8.6",), "8.7")
    assert code_for(facts.kernels, "9.0") == "PTX 8.6 (ISA 8.7), compiled by the driver"
