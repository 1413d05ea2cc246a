"""What the installed CTranslate2 needs, read from its own binary. Nothing is imported or loaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import mmap
from pathlib import Path

from .facts import CTranslate2Facts
from .kernels import find_kernels

#: Words in the binary that only a build with CUDA, or with cuDNN, contains.
CUDA_WORDS = b"libcublas.so."
CUDNN_WORDS = b"libcudnn"


def describe_package() -> CTranslate2Facts:
    """Version and needs of the CTranslate2 of this Python."""
    try:
        version = importlib.metadata.version("ctranslate2")
    except importlib.metadata.PackageNotFoundError:
        return CTranslate2Facts(import_error="the package ctranslate2 is not installed")
    library = find_library()
    if library is None:
        return CTranslate2Facts(version=version)
    return CTranslate2Facts(
        version=version,
        library_path=str(library),
        cuda_compiled=contains(library, CUDA_WORDS),
        needs_cudnn=contains(library, CUDNN_WORDS),
        kernels=find_kernels(library),
    )


def find_library() -> Path | None:
    """libctranslate2 of the wheel: beside the package, or inside it."""
    spec = importlib.util.find_spec("ctranslate2")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    patterns = (package.parent / "ctranslate2.libs", package, package.parent)
    return next((path for folder in patterns for path in sorted(folder.glob("libctranslate2*.so*"))), None)


def contains(path: Path, words: bytes) -> bool:
    """Whether the file contains these bytes. Mapped, not read: the library has 80 MB."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(words) >= 0
