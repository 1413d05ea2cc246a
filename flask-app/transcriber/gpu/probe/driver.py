"""Questions to the NVIDIA driver, by ctypes on libcuda.so.1. Runs in the probe child only.

The driver remembers a failed cuInit for the life of a process, so nothing else may import this.
"""

from __future__ import annotations

import ctypes
import re
import uuid
from pathlib import Path

from .facts import DriverFacts, GpuDevice

LIBCUDA = "libcuda.so.1"

#: Folders that hold the driver's library on some systems without the dynamic linker knowing them.
DRIVER_DIRS = (
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/run/opengl-driver/lib",
)

_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76


def open_driver() -> tuple[ctypes.CDLL | None, DriverFacts]:
    """libcuda.so.1 as the dynamic linker finds it, else from a folder known to hold it."""
    try:
        cuda = ctypes.CDLL(LIBCUDA)
    except OSError as error:
        if not is_missing(str(error)):
            return None, DriverFacts(load_error=str(error), libcuda_path=_path_in(str(error)))
        return _open_elsewhere(str(error))
    return cuda, DriverFacts(loaded=True, libcuda_path=_mapped_path())


def is_missing(load_error: str) -> bool:
    """Whether the loader's words mean that there is no such file, not that it is bad."""
    return load_error.startswith(f"{LIBCUDA}: cannot open shared object file: No such file")


def _open_elsewhere(first_error: str) -> tuple[ctypes.CDLL | None, DriverFacts]:
    for folder in DRIVER_DIRS:
        path = Path(folder, LIBCUDA)
        if path.exists():
            try:
                cuda = ctypes.CDLL(str(path))
            except OSError as error:
                return None, DriverFacts(load_error=str(error), libcuda_path=str(path))
            return cuda, DriverFacts(loaded=True, libcuda_path=str(path), extra_dir=folder)
    return None, DriverFacts(load_error=first_error)


def _path_in(load_error: str) -> str | None:
    path = load_error.partition(":")[0]
    return path if path.startswith("/") else None


def _mapped_path() -> str | None:
    """Where the loaded libcuda really lies, by the kernel's own table of this process."""
    match = re.search(r"(/\S*/libcuda\.so\S*)", Path("/proc/self/maps").read_text())
    return match.group(1) if match else None


def ask_version(cuda: ctypes.CDLL) -> int | None:
    """cuDriverGetVersion; 12080 is CUDA 12.8. It answers without cuInit."""
    number = ctypes.c_int(0)
    return number.value if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0 else None


def ask_device_count(cuda: ctypes.CDLL) -> tuple[int, int]:
    """cuDeviceGetCount: its code, and the count."""
    count = ctypes.c_int(0)
    code = int(cuda.cuDeviceGetCount(ctypes.byref(count)))
    return code, count.value if code == 0 else 0


def ask_error_name(cuda: ctypes.CDLL, code: int) -> str:
    """The driver's name for a code, as CUDA_ERROR_NO_DEVICE."""
    name = ctypes.c_char_p()
    known = cuda.cuGetErrorName(code, ctypes.byref(name)) == 0
    return (name.value or b"").decode(errors="replace") if known else ""


def ask_device(cuda: ctypes.CDLL, index: int) -> GpuDevice:
    """Everything about one device that needs no context on it."""
    handle = ctypes.c_int(0)
    cuda.cuDeviceGet(ctypes.byref(handle), index)
    name = _ask_text(cuda.cuDeviceGetName, handle)
    is_mig = " MIG " in name
    memory = ctypes.c_size_t(0)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    major, minor = (_ask_attribute(cuda, which, handle) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR))
    return GpuDevice(
        index=index,
        name=name,
        uuid=("MIG-" if is_mig else "GPU-") + _ask_uuid(cuda, handle),
        pci_bus_id=_ask_bus_id(cuda, handle),
        compute_capability=f"{major}.{minor}",
        memory_bytes=memory.value,
        is_mig=is_mig,
    )


def _ask_text(function: ctypes._NamedFuncPointer, handle: ctypes.c_int) -> str:
    text = ctypes.create_string_buffer(256)
    function(text, len(text), handle)
    return text.value.decode(errors="replace")


def _ask_bus_id(cuda: ctypes.CDLL, handle: ctypes.c_int) -> str:
    text = ctypes.create_string_buffer(64)
    cuda.cuDeviceGetPCIBusId(text, len(text), handle)
    return text.value.decode(errors="replace")


def _ask_uuid(cuda: ctypes.CDLL, handle: ctypes.c_int) -> str:
    """The 16 bytes as nvidia-smi writes them. _v2 gives a MIG slice its own; older drivers lack it."""
    raw = ctypes.create_string_buffer(16)
    function = getattr(cuda, "cuDeviceGetUuid_v2", None) or cuda.cuDeviceGetUuid
    function(raw, handle)
    return str(uuid.UUID(bytes=raw.raw))


def _ask_attribute(cuda: ctypes.CDLL, which: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int(0)
    cuda.cuDeviceGetAttribute(ctypes.byref(value), which, handle)
    return value.value
