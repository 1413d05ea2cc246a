"""Signs of an NVIDIA GPU in the file system, which need no driver: PCI devices and device nodes."""

from __future__ import annotations

import re
from pathlib import Path

from .facts import HardwareFacts

NVIDIA_PCI_VENDOR = "0x10de"


def find_hardware(root: Path = Path("/")) -> HardwareFacts:
    """Look for PCI devices of NVIDIA's, its device nodes, and WSL's /dev/dxg."""
    found = (*_pci_devices(root), *_device_nodes(root))
    return HardwareFacts(present=bool(found), found=found)


def find_kernel_module_version(root: Path = Path("/")) -> str | None:
    """Version of the loaded NVIDIA kernel module, such as '570.124.06'."""
    text = _read(root / "proc/driver/nvidia/version")
    match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text.partition("\n")[0])
    return match.group(1) if match else None


def _pci_devices(root: Path) -> list[str]:
    vendors = sorted((root / "sys/bus/pci/devices").glob("*/vendor"))
    return [f"PCI {path.parent.name}" for path in vendors if _read(path).strip() == NVIDIA_PCI_VENDOR]


def _device_nodes(root: Path) -> list[str]:
    nodes = sorted((root / "dev").glob("nvidia*"))
    dxg = root / "dev/dxg"
    return [f"/dev/{node.name}" for node in nodes] + (["/dev/dxg"] if dxg.exists() else [])


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
