"""Proof H: how many kernels the GPU ran, counted by CUPTI's activity records through ctypes.

Own memory, own process: one subscriber at a time, and a wrong record would end it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = ("libcupti.so.12", "libcupti.so.13", "libcupti.so")

#: Where the packages nvidia-cuda-cupti-cu12 and nvidia-cuda-cupti put it, and the toolkit.
_PLACES = ("nvidia/cuda_cupti/lib", "nvidia/cu13/lib")
_TOOLKIT = ("/usr/local/cuda/extras/CUPTI/lib64", "/usr/local/cuda/lib64")
_CONCURRENT_KERNEL, _BUFFER_BYTES, _ALIGNMENT = 10, 4 * 1024 * 1024, 8

_Requested = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.POINTER(ctypes.c_size_t),
)
_Completed = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
)


class Counter:
    """Kernels that ran while it was open."""

    kernels = 0


def find_cupti() -> Any | None:
    """CUPTI as the dynamic linker finds it, or from a package or the toolkit. 12 before 13: either counts, by the driver."""
    folders = ["", *(str(Path(root, place)) for root in sys.path for place in _PLACES), *_TOOLKIT]
    for name in _NAMES:
        for folder in folders:
            try:
                return ctypes.CDLL(str(Path(folder, name)) if folder else name)
            except OSError:
                continue
    return None


@contextmanager
def counting(cupti: Any) -> Iterator[Counter]:
    """Count the kernels of the body. Raises RuntimeError where CUPTI refuses."""
    counter, buffers = Counter(), {}

    def give(buffer: Any, size: Any, records: Any) -> None:
        memory = ctypes.create_string_buffer(_BUFFER_BYTES + _ALIGNMENT)
        address = -(-ctypes.addressof(memory) // _ALIGNMENT) * _ALIGNMENT
        buffers[address] = memory
        buffer[0], size[0], records[0] = address, _BUFFER_BYTES, 0

    def take(_context: int, _stream: int, buffer: int, _size: int, valid: int) -> None:
        record = ctypes.c_void_p()
        while valid and not cupti.cuptiActivityGetNextRecord(
            ctypes.c_void_p(buffer), ctypes.c_size_t(valid), ctypes.byref(record)
        ):
            kind = ctypes.cast(record, ctypes.POINTER(ctypes.c_uint32))[0]
            counter.kernels += kind == _CONCURRENT_KERNEL
        buffers.pop(buffer, None)

    requested, completed = _Requested(give), _Completed(take)
    _must(cupti.cuptiActivityRegisterCallbacks(requested, completed))
    _must(cupti.cuptiActivityEnable(_CONCURRENT_KERNEL))
    try:
        yield counter
    finally:
        _must(cupti.cuptiActivityFlushAll(1))
        _must(cupti.cuptiActivityDisable(_CONCURRENT_KERNEL))


def _must(code: int) -> None:
    if code:
        raise RuntimeError(f"CUPTI answers {code}")
