"""Signs of an NVIDIA GPU, in a made-up file system."""

from __future__ import annotations

from pathlib import Path

from transcriber.gpu.probe.hardware import find_hardware, find_kernel_module_version


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_empty_machine_has_no_sign(tmp_path: Path) -> None:
    _write(tmp_path / "sys/bus/pci/devices/0000:00:00.0/vendor", "0x8086\n")

    facts = find_hardware(tmp_path)

    assert (facts.present, facts.found) == (False, ())


def test_each_sign_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    _write(tmp_path / "dev/nvidiactl", "")
    _write(tmp_path / "dev/dxg", "")

    facts = find_hardware(tmp_path)

    assert facts.present
    assert facts.found == ("PCI 0000:01:00.0", "/dev/nvidiactl", "/dev/dxg")


def test_kernel_module_version_of_both_kinds_of_module(tmp_path: Path) -> None:
    path = tmp_path / "proc/driver/nvidia/version"
    _write(
        path,
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version: 12.3.0\n",
    )
    assert find_kernel_module_version(tmp_path) == "535.183.01"

    _write(path, "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n")
    assert find_kernel_module_version(tmp_path) == "570.124.06"


def test_no_module_has_no_version(tmp_path: Path) -> None:
    assert find_kernel_module_version(tmp_path) is None
