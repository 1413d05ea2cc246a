"""The CUDA driver is asked with the right numbers, and its refusals are None."""

from __future__ import annotations

import ctypes
from typing import Any

from transcriber.engine.child.model.evidence import CudaDriver, open_driver


class FakeLibrary:
    """A libcuda with one device and one pool, as ctypes shows it."""

    POOL = 0x1234_5678_9ABC_DEF0

    def __init__(self, *, status: int = 0, name: str = "Device") -> None:
        self.status = status
        self.name = name
        self.high = 5_000_000_000
        self.asked: list[int] = []

    def cuDeviceGet(self, device: Any, ordinal: Any) -> int:  # noqa: N802 - the driver's own name
        device._obj.value = 40 + ordinal.value
        return self.status

    def cuDeviceGetName(self, name: Any, size: Any, device: Any) -> int:  # noqa: N802
        name.value = f"{self.name} {device.value}".encode()
        return self.status

    def cuDeviceGetUuid_v2(self, raw: Any, device: Any) -> int:  # noqa: N802
        ctypes.memmove(raw._obj, bytes(range(16)), 16)
        return self.status

    def cuDeviceGetDefaultMemPool(self, pool: Any, device: Any) -> int:  # noqa: N802
        assert device.value == 42
        pool._obj.value = self.POOL
        return self.status

    def cuMemPoolGetAttribute(self, pool: Any, attribute: Any, value: Any) -> int:  # noqa: N802
        assert pool.value == self.POOL
        self.asked.append(attribute.value)
        value._obj.value = self.high
        return self.status

    def cuMemPoolSetAttribute(self, pool: Any, attribute: Any, value: Any) -> int:  # noqa: N802
        assert (pool.value, attribute.value) == (self.POOL, 8)
        self.high = value._obj.value
        return self.status


def test_the_pools_high_water_mark_is_read_and_reset() -> None:
    library = FakeLibrary()
    driver = CudaDriver(library, 2)

    assert driver.pool_peak_bytes() == 5_000_000_000
    driver.reset_pool_peak()
    assert driver.pool_peak_bytes() == 0
    assert library.asked == [8, 8]


def test_identity() -> None:
    driver = CudaDriver(FakeLibrary(), 2)

    assert driver.find_name() == "Device 42"
    assert driver.find_uuid() == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_mig_instance_has_the_prefix_of_one() -> None:
    driver = CudaDriver(FakeLibrary(name="NVIDIA A100-SXM4-40GB MIG 1g.5gb"), 2)

    assert driver.find_uuid() == "MIG-00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_a_driver_that_refuses_or_lacks_the_calls_gives_none() -> None:
    for library in (FakeLibrary(status=3), object()):
        driver = CudaDriver(library, 0)
        driver.reset_pool_peak()
        assert driver.pool_peak_bytes() is None
        assert driver.find_name() is None
        assert driver.find_uuid() is None


def test_the_cpu_has_no_driver() -> None:
    assert open_driver("cpu", 0) is None
