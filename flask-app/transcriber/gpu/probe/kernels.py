"""Which GPUs CTranslate2's binary has machine code for, and what PTX: read from its fatbin headers.

A fatbin is a header and a row of entries, one for each kernel file and architecture. The headers are never
compressed, so nothing is loaded and no CUDA tool is needed.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"\x50\xed\x55\xba"
#: Magic, version, size of this header, size of the entries.
_HEAD = struct.Struct("<IHHQ")
#: Kind, flags, size of this header, size of the content, 8 bytes, minor and major version, architecture.
_ENTRY = struct.Struct("<HHIQQHHI")
_PTX, _MACHINE_CODE = 1, 2

Capability = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """Compute capabilities with machine code, and of the PTX; as '8.6'. `ptx_isa` is the newest, as '8.7'."""

    machine_code: tuple[str, ...] = ()
    ptx: tuple[str, ...] = ()
    ptx_isa: str | None = None


def find_kernels(path: Path) -> Kernels:
    """The architectures in this file; none where it has no CUDA code. Raises OSError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = set(_entries(content))
    ptx = {(capability, isa) for kind, capability, isa in found if kind == _PTX}
    return Kernels(
        machine_code=_shown({capability for kind, capability, _ in found if kind == _MACHINE_CODE}),
        ptx=_shown({capability for capability, _ in ptx}),
        ptx_isa=max(_shown({isa for _, isa in ptx}), key=parse, default=None),
    )


def _entries(content: mmap.mmap) -> Iterator[tuple[int, Capability, Capability]]:
    at = content.find(_MAGIC)
    while at >= 0 and at + _HEAD.size <= len(content):
        _, version, header_size, size = _HEAD.unpack_from(content, at)
        is_fatbin = version == 1 and header_size == _HEAD.size and at + size <= len(content)
        if is_fatbin:
            yield from _entries_between(content, at + header_size, at + header_size + size)
        at = content.find(_MAGIC, at + (header_size + size if is_fatbin else len(_MAGIC)))


def _entries_between(
    content: mmap.mmap, begin: int, end: int
) -> Iterator[tuple[int, Capability, Capability]]:
    at = begin
    while at + _ENTRY.size <= min(end, len(content)):
        kind, _, header_size, size, _, minor, major, architecture = _ENTRY.unpack_from(content, at)
        if header_size < _ENTRY.size:
            return
        if kind in (_PTX, _MACHINE_CODE):
            yield kind, divmod(architecture, 10), (major, minor)
        at += header_size + size


def _shown(capabilities: set[Capability]) -> tuple[str, ...]:
    return tuple(f"{major}.{minor}" for major, minor in sorted(capabilities))


def parse(capability: str) -> Capability:
    """'8.6' as numbers, to compare."""
    major, _, minor = capability.partition(".")
    return int(major), int(minor or 0)


def code_for(kernels: Kernels, capability: str) -> str | None:
    """What runs on a card of this capability: 'machine code 8.6', 'PTX 8.6 …', 'none'. None: not known."""
    if not kernels.machine_code and not kernels.ptx:
        return None
    card = parse(capability)
    fitting = [each for each in kernels.machine_code if parse(each)[0] == card[0] and parse(each) <= card]
    if fitting:
        return f"machine code {fitting[-1]}"
    older = [each for each in kernels.ptx if parse(each) <= card]
    return f"PTX {older[-1]} (ISA {kernels.ptx_isa}), compiled by the driver" if older else "none"
