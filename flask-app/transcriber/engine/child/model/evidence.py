"""What the CUDA driver itself says: identity of the device, and how much memory this process used at most.

Asked through ctypes, so that no CUDA package is needed. Everything answers None where there is no CUDA.
"""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Callable
from typing import Any

_SUCCESS = 0

#: CUmemPool_attribute: bytes in use, and their high-water mark; writing 0 to that resets it.
_USED_MEM_CURRENT = 7
_USED_MEM_HIGH = 8

#: CUpointer_attribute, and the kinds of memory (CUmemorytype).
_POINTER_MEMORY_TYPE = 2
_POINTER_DEVICE_ORDINAL = 9
_MEMORY_KINDS = {1: "host", 2: "device", 3: "array", 4: "unified"}


class CudaDriver:
    """The few calls of libcuda that evidence needs, on one device."""

    def __init__(self, library: Any, device_index: int) -> None:
        self._library = library
        self._device = ctypes.c_int(0)
        self._context: ctypes.c_void_p | None = None
        self._known = self._ok("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(device_index))

    def find_name(self) -> str | None:
        """The device's name, as 'NVIDIA L4'."""
        name = ctypes.create_string_buffer(256)
        if not self._known or not self._ok("cuDeviceGetName", name, ctypes.c_int(256), self._device):
            return None
        return name.value.decode(errors="replace")

    def find_uuid(self) -> str | None:
        """The device's UUID as nvidia-smi writes it, or that of the MIG instance."""
        raw = (ctypes.c_ubyte * 16)()
        if not self._known or not self._ok("cuDeviceGetUuid_v2", ctypes.byref(raw), self._device):
            return None
        # Of a MIG instance these bytes are its own, and its name has its profile.
        kind = "MIG" if " MIG " in (self.find_name() or "") else "GPU"
        return f"{kind}-{uuid.UUID(bytes=bytes(raw))}"

    def pool_peak_bytes(self) -> int | None:
        """Most bytes in use in the device's default memory pool since the last reset.

        CTranslate2 allocates there (cuda_malloc_async) where every GPU has memory pools; elsewhere 0.
        """
        return self._pool_attribute(_USED_MEM_HIGH)

    def pool_used_bytes(self) -> int | None:
        """Bytes in use in that pool now."""
        return self._pool_attribute(_USED_MEM_CURRENT)

    def locate(self, address: int) -> tuple[str | None, int | None]:
        """What lies at this address: the kind of memory ('device', 'host', 'unified') and the device's number.

        None for what the driver does not say.
        """
        if not self._enter_context():
            return None, None
        kind = self._pointer_attribute(_POINTER_MEMORY_TYPE, address)
        ordinal = self._pointer_attribute(_POINTER_DEVICE_ORDINAL, address)
        return None if kind is None else _MEMORY_KINDS.get(kind, f"kind {kind} of"), ordinal

    def reset_pool_peak(self) -> None:
        """Begin a new high-water mark."""
        pool = self._find_pool()
        if pool is not None:
            zero = ctypes.c_uint64(0)
            self._ok("cuMemPoolSetAttribute", pool, ctypes.c_int(_USED_MEM_HIGH), ctypes.byref(zero))

    def _pool_attribute(self, attribute: int) -> int | None:
        pool = self._find_pool()
        value = ctypes.c_uint64(0)
        if pool is None or not self._ok(
            "cuMemPoolGetAttribute", pool, ctypes.c_int(attribute), ctypes.byref(value)
        ):
            return None
        return int(value.value)

    def _pointer_attribute(self, attribute: int, address: int) -> int | None:
        value = ctypes.c_int(0)
        asked = self._ok(
            "cuPointerGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), ctypes.c_uint64(address)
        )
        return value.value if asked else None

    def _enter_context(self) -> bool:
        """Make the device's primary context, which CTranslate2 computes in, this thread's own too."""
        if self._context is None and self._known:
            context = ctypes.c_void_p()
            if self._ok("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device):
                self._context = context
        return self._context is not None and self._ok("cuCtxSetCurrent", self._context)

    def _find_pool(self) -> ctypes.c_void_p | None:
        pool = ctypes.c_void_p()
        if not self._known or not self._ok("cuDeviceGetDefaultMemPool", ctypes.byref(pool), self._device):
            return None
        return pool

    def _ok(self, name: str, *arguments: object) -> bool:
        """Whether the call exists in this driver and succeeded."""
        call: Callable[..., int] | None = getattr(self._library, name, None)
        return call is not None and call(*arguments) == _SUCCESS


def open_driver(device: str, device_index: int) -> CudaDriver | None:
    """The driver, if the engine computes on CUDA. CTranslate2 has initialised it by then."""
    if device != "cuda":
        return None
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return CudaDriver(library, device_index)
