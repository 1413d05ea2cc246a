"""The head of an ELF file: enough to say, without loading it, why it can't be loaded here."""

from __future__ import annotations

import platform
import struct
from pathlib import Path
from typing import BinaryIO

_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 21: "ppc64le", 243: "riscv64"}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")


def find_fault(path: Path) -> str | None:
    """Why this file is no shared library for this machine; None when it looks right."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            return _fault_of_head(head, size) or _fault_of_segments(head, size, file)
    except OSError as error:
        return f"can't be read: {error.strerror}"


def _fault_of_head(head: bytes, size: int) -> str | None:
    if head[:4] != b"\x7fELF":
        return f"not an ELF file: it begins with {head[:8]!r}" if head else "an empty file"
    if len(head) < _HEADER.size:
        return f"truncated: only {size} bytes"
    if head[4] != 2:
        return "a 32-bit library"
    machine = struct.unpack_from("<H", head, 18)[0]
    name = _MACHINES.get(machine, f"machine {machine}")
    return None if name == platform.machine() else f"built for {name}, this machine is {platform.machine()}"


def _fault_of_segments(head: bytes, size: int, file: BinaryIO) -> str | None:
    """Whether the file is shorter than its segments say; loading such a file kills the process."""
    fields = _HEADER.unpack(head)
    offset, entry_size, entries = fields[5], fields[9], fields[10]
    if entry_size != _PROGRAM_HEADER.size or offset != _HEADER.size:
        return None
    table = file.read(entry_size * entries)
    if len(table) < entry_size * entries:
        return f"truncated: only {size} bytes"
    segments = _PROGRAM_HEADER.iter_unpack(table)
    end = max((p_offset + p_filesz for _, _, p_offset, _, _, p_filesz, _, _ in segments), default=0)
    return f"truncated: {size} bytes of at least {end}" if end > size else None
