"""What a look at this machine found about GPUs: the driver, the cards, the libraries, CTranslate2."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...domain.transcript import FallbackReason
from .kernels import Kernels
from .sharing import SharingFacts

#: The first compute capability for which CTranslate2's wheel carries no machine code, only PTX.
FIRST_CAPABILITY_WITHOUT_MACHINE_CODE = (9, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class HardwareFacts:
    """Signs of an NVIDIA GPU that need no driver; `found` says where each was seen."""

    present: bool
    found: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuDevice:
    """One card, or one MIG slice. `index` is in PCI order; compute_capability reads '9.0'."""

    index: int
    name: str
    uuid: str
    pci_bus_id: str
    compute_capability: str
    memory_bytes: int
    is_mig: bool = False
    #: What CTranslate2 offers on it; empty with an error text when it could not say.
    compute_types: tuple[str, ...] = ()
    compute_types_error: str | None = None
    #: How it is shared and how full it is; None when that was not looked at.
    sharing: SharingFacts | None = None

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability as numbers, to compare."""
        major, _, minor = self.compute_capability.partition(".")
        return int(major), int(minor or 0)

    @property
    def is_compiled_at_first_use(self) -> bool:
        """Whether the driver must compile CTranslate2's kernels for it (PTX), which slows the first start."""
        return self.capability >= FIRST_CAPABILITY_WITHOUT_MACHINE_CODE


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryCandidate:
    """A file that might be the library; `rejected` says why it is not used."""

    path: str
    found_via: str
    version: str | None = None
    rejected: str | None = None
    #: The code of the cause behind `rejected`, where it is a fault.
    rejected_code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A library CTranslate2 opens by this name, the file chosen for it, and all that were looked at."""

    name: str
    needed: bool = True
    chosen: LibraryCandidate | None = None
    candidates: tuple[LibraryCandidate, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverFacts:
    """The NVIDIA driver as seen through libcuda.so.1. Codes are CUresult numbers."""

    loaded: bool = False
    load_error: str | None = None
    libcuda_path: str | None = None
    #: A folder that must be on LD_LIBRARY_PATH for libcuda.so.1 to be found.
    extra_dir: str | None = None
    #: Highest CUDA version the driver speaks: 12080 and 'CUDA 12.8'.
    version_number: int | None = None
    version: str | None = None
    init_code: int | None = None
    init_name: str | None = None
    count_code: int | None = None
    device_count: int | None = None
    #: From /proc/driver/nvidia/version, such as '570.124.06'.
    kernel_module_version: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CTranslate2Facts:
    """The installed CTranslate2, as its own binary and its own answers show it."""

    version: str | None = None
    library_path: str | None = None
    cuda_compiled: bool | None = None
    needs_cudnn: bool | None = None
    #: For which cards its binary has code.
    kernels: Kernels = Kernels()
    cpu_compute_types: tuple[str, ...] = ()
    #: Its answer about CUDA when that was an exception; the text is CTranslate2's own.
    cuda_error: str | None = None
    import_error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeReport:
    """All facts of one probe, before judgement."""

    hardware: HardwareFacts
    driver: DriverFacts = DriverFacts()
    devices: tuple[GpuDevice, ...] = ()
    libraries: tuple[Library, ...] = ()
    ctranslate2: CTranslate2Facts = CTranslate2Facts()
    #: What the operator asked for (WHISPER_GPU_DEVICE), and the device that is.
    gpu_device: str = "0"
    selected: GpuDevice | None = None
    #: CUDA_VISIBLE_DEVICES as the probe saw it; None when it was not set.
    visible_devices: str | None = None
    #: The number format that is set for the GPU, and whether only known good combinations may serve.
    gpu_compute_type: str = "auto"
    strict_matrix: bool = False
    #: The step at which the probe child ended too early, and how: 'timeout' or its last words.
    stopped_step: str | None = None
    stopped_how: str | None = None
    checked_at: datetime
    probe_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuStatus(ProbeReport):
    """The facts with their verdict. `problems` has every fault, the deciding one first."""

    usable: bool
    cause: FallbackReason | None
    problems: tuple[FallbackReason, ...] = ()
    #: Things worth knowing that do not stop the GPU.
    notes: tuple[FallbackReason, ...] = ()

    @property
    def library_dirs(self) -> tuple[str, ...]:
        """Folders of the chosen libraries that are needed, each once, in order."""
        chosen = [library.chosen for library in self.libraries if library.needed]
        return tuple(dict.fromkeys(str(Path(c.path).parent) for c in chosen if c is not None))

    @property
    def cublas_paths(self) -> tuple[str, ...]:
        """The chosen files of cuBLAS in the order to load them: the one that needs nothing first."""
        names = ("libcublasLt.so.", "libcublas.so.")
        chosen = [
            library.chosen for name in names for library in self.libraries if library.name.startswith(name)
        ]
        return tuple(candidate.path for candidate in chosen if candidate is not None)
