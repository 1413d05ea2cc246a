"""Folders in which cuBLAS is missing, foreign or broken, each in its own way; and the cause that each is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fake_gpu import build_cublas, compile_library


def put_nothing(folder: Path) -> None:
    """An empty folder: cuBLAS is missing."""


def put_foreign(folder: Path) -> None:
    compile_library("fakecublas.c", folder / "libcublas.so.13", "-DMAJOR=13")
    compile_library("fakecublas.c", folder / "libcublasLt.so.13")


def put_text(folder: Path) -> None:
    build_cublas(folder)
    (folder / "libcublas.so.12").write_text("not a library\n")


def put_truncated(folder: Path) -> None:
    build_cublas(folder)
    whole = (folder / "libcublas.so.12").read_bytes()
    (folder / "libcublas.so.12").write_bytes(whole[: len(whole) // 3])


def put_truncated_lt(folder: Path) -> None:
    build_cublas(folder)
    (folder / "libcublasLt.so.12").write_bytes((folder / "libcublasLt.so.12").read_bytes()[:3000])


def put_wrong_version(folder: Path) -> None:
    build_cublas(folder, major=13)


def put_alone(folder: Path) -> None:
    compile_library("fakecublas.c", folder / "libcublas.so.12", "-DMAJOR=12")


def put_mismatch(folder: Path) -> None:
    compile_library("fakecublas.c", folder / "libcublasLt.so.12")
    compile_library("fakecublas.c", folder / "libcublas.so.12", "-DMAJOR=12", "-DNEEDS_LT")


def put_missing_dependency(folder: Path) -> None:
    other = compile_library("fakecublas.c", folder / "libnotthere.so.1")
    compile_library("fakecublas.c", folder / "libcublasLt.so.12")
    flags = ("-DMAJOR=12", "-Wl,--no-as-needed", str(other))
    compile_library("fakecublas.c", folder / "libcublas.so.12", *flags)
    other.unlink()


@dataclass(frozen=True)
class CublasFault:
    """A way to fill a folder, the cause's code, and words that its message must have."""

    name: str
    arrange: Callable[[Path], None]
    code: str
    words: str


CUBLAS_FAULTS = (
    CublasFault("missing", put_nothing, "cublas_missing", "libcublas.so.12 is not on this machine"),
    CublasFault("foreign", put_foreign, "cublas_foreign", "libcublas.so.13"),
    CublasFault("text", put_text, "cublas_broken", "not an ELF file"),
    CublasFault("truncated", put_truncated, "cublas_broken", "truncated"),
    CublasFault("dependency", put_missing_dependency, "cublas_broken", "libnotthere.so.1"),
    CublasFault("lt-truncated", put_truncated_lt, "cublaslt_broken", "truncated"),
    CublasFault("wrong-version", put_wrong_version, "cublas_wrong_version", "version 13.9.1, not 12"),
    CublasFault("alone", put_alone, "cublaslt_missing", "libcublasLt.so.12 is not beside it"),
    CublasFault("mismatch", put_mismatch, "cublas_lt_mismatch", "undefined symbol: cublasLtOfTheSameBuild"),
)
