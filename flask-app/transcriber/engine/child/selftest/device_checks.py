"""The self-test's first two steps, which need no model: the device is there, and its libraries are the chosen ones."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....domain.selftest import FAILED, NOT_APPLICABLE, PASSED, Step
from ..faults import Fault, FaultError, fault_of
from ..model.evidence import CudaDriver

_CUBLAS_MAJOR = 12

_REINSTALL = (
    "Run '.venv/bin/python -m pip install --force-reinstall nvidia-cublas-cu12', take other folders with a libcublas out of "
    "LD_LIBRARY_PATH, and restart."
)


class DeviceChecks:
    """Whether an engine may compute on this device."""

    def __init__(
        self,
        *,
        device: str,
        compute_types: Callable[[], Sequence[str]],
        open_driver: Callable[[], CudaDriver | None],
        libraries: Sequence[str],
    ) -> None:
        """compute_types: what CTranslate2 offers, or its error. libraries: files to load first, in this order."""
        self._device = device
        self._compute_types = compute_types
        self._open_driver = open_driver
        self._libraries = libraries
        self.driver: CudaDriver | None = None

    def visible(self) -> Step:
        """CTranslate2 sees the device, and the driver names it."""
        return self._step("visible", self._look)

    def usable(self) -> Step:
        """cuBLAS 12 is loaded, from the file that was chosen and from no other."""
        return self._step("usable", self._load_libraries)

    def _step(self, name: str, body: Callable[[dict[str, Any]], None]) -> Step:
        if self._device != "cuda":
            return Step(
                name=name, outcome=NOT_APPLICABLE, message="A CPU needs no driver and no CUDA libraries."
            )
        return take_step(name, body)

    def _look(self, numbers: dict[str, Any]) -> None:
        numbers["compute_types"] = list(self._compute_types())
        # Asked after CTranslate2, which initialises it.
        self.driver = self.driver or self._open_driver()
        if self.driver is not None:
            numbers |= {"device_name": self.driver.find_name(), "device_uuid": self.driver.find_uuid()}

    def _load_libraries(self, numbers: dict[str, Any]) -> None:
        """By absolute path: CTranslate2 asks for the name alone later, and gets what is loaded by then."""
        for library in self._libraries:
            _open(library)
        cublas = _open("libcublas.so.12")
        version = cublas_version(cublas)
        path = path_of(cublas)
        numbers |= {"cublas": ".".join(map(str, version)), "path": path}
        if version[0] != _CUBLAS_MAJOR:
            raise _library_fault("cublas_wrong_version", f"libcublas.so.12 is version {numbers['cublas']}.")
        chosen = next((each for each in self._libraries if Path(each).name.startswith("libcublas.so")), None)
        if chosen is not None and path is not None and Path(path).resolve() != Path(chosen).resolve():
            raise _library_fault("cublas_not_the_chosen", f"{chosen} was chosen, and {path} is loaded.")


def take_step(name: str, body: Callable[[dict[str, Any]], None]) -> Step:
    """A step with this body, which adds to the numbers as it goes; whatever it raises is the failure."""
    started, numbers = time.monotonic(), dict[str, Any]()
    fault: Fault | None = None
    try:
        body(numbers)
    except Exception as error:  # noqa: BLE001 - a test's boundary: every failure is a finding
        fault = fault_of(error)
    step = Step(name=name, outcome=PASSED, seconds=round(time.monotonic() - started, 4), numbers=numbers)
    if fault is None:
        return step
    return replace(step, outcome=FAILED, code=fault.code, message=fault.message, fix=fault.fix)


def cublas_version(library: Any) -> tuple[int, int, int]:
    """Major, minor and patch, as the library says them."""
    major, minor, patch = (_property(library, which) for which in range(3))
    return major, minor, patch


def path_of(library: Any) -> str | None:
    """The file that a loaded cuBLAS came from, by the dynamic linker's word on one of its functions."""
    about = _SymbolInfo()
    address = ctypes.cast(library.cublasGetProperty, ctypes.c_void_p)
    found = ctypes.CDLL(None).dladdr(address, ctypes.byref(about))
    return about.file.decode(errors="replace") if found and about.file else None


class _SymbolInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _property(library: Any, which: int) -> int:
    value = ctypes.c_int(-1)
    library.cublasGetProperty(which, ctypes.byref(value))
    return value.value


def _open(path: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise _library_fault("cublas_broken", f"{path} can't be loaded: {error}.") from error


def _library_fault(code: str, message: str) -> FaultError:
    return FaultError(Fault(code=code, message=message, fix=_REINSTALL, sticky=True))
