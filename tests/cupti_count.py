"""Proof H: how many kernels the GPU ran, counted by CUPTI's activity records through ctypes.

Own memory, own process: one subscriber at a time, and a wrong record would end it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = ("libcupti.so.12", "libcupti.so")
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
    """CUPTI as the dynamic linker finds it; it comes with the toolkit or the package nvidia-cuda-cupti-cu12."""
    for name in _NAMES:
        try:
            return ctypes.CDLL(name)
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
