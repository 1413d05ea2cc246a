"""What the CUDA driver says of pointers, pools and memory, asked by ctypes in the process that computes."""

from __future__ import annotations

import ctypes
from typing import Any

#: CUpointer_attribute, and CUmemorytype's word for memory of a device.
_MEMORY_TYPE, _DEVICE_ORDINAL, _OF_A_DEVICE = 2, 9, 2

#: CUmemPool_attribute.
_RESERVED, _USED, _USED_HIGH = 5, 7, 8


class Cuda:
    """The driver on its first visible device. `why`: it can't be asked, and every answer is None."""

    def __init__(self) -> None:
        self.why: str | None = None
        self._device = ctypes.c_int(0)
        self._pool = ctypes.c_void_p()
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            self.why = str(error)
            return
        code = self._library.cuInit(0) or self._library.cuDeviceGet(ctypes.byref(self._device), 0)
        if code:
            self.why = f"the driver answers {code}"

    def enter(self) -> None:
        """Make the device's primary context, which CUDA's runtime uses, current on this thread."""
        if self.why is None:
            context = ctypes.c_void_p()
            self._must("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
            self._must("cuCtxSetCurrent", context)
            self._must("cuDeviceGetDefaultMemPool", ctypes.byref(self._pool), self._device)

    def where(self, pointer: int) -> dict[str, Any]:
        """Proof B: whether the driver knows this address as memory of a device, and of which."""
        if self.why is not None:
            return {"is_on_device": False, "why": self.why}
        kind, ordinal = ctypes.c_uint(0), ctypes.c_int(-1)
        address = ctypes.c_uint64(pointer)
        code = self._library.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, address)
        if code:
            return {"is_on_device": False, "why": f"the driver does not know the address (error {code})"}
        self._library.cuPointerGetAttribute(ctypes.byref(ordinal), _DEVICE_ORDINAL, address)
        return {
            "is_on_device": kind.value == _OF_A_DEVICE,
            "memory_type": kind.value,
            "ordinal": ordinal.value,
        }

    def pool(self) -> dict[str, int] | None:
        """Proof C: bytes reserved, in use, and in use at most, of this process's default pool."""
        if self.why is not None:
            return None
        names = {"reserved": _RESERVED, "used": _USED, "high": _USED_HIGH}
        return {name: self._pool_number(attribute) for name, attribute in names.items()}

    def reset_high(self) -> None:
        if self.why is None:
            self._must("cuMemPoolSetAttribute", self._pool, _USED_HIGH, ctypes.byref(ctypes.c_uint64(0)))

    def free_bytes(self) -> int | None:
        if self.why is not None:
            return None
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        self._must("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def _pool_number(self, attribute: int) -> int:
        value = ctypes.c_uint64(0)
        self._must("cuMemPoolGetAttribute", self._pool, attribute, ctypes.byref(value))
        return value.value

    def _must(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} answers {code}")
