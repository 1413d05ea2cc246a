"""Where CUDA's libraries may lie, in the documented order, and which of the files found can be used.

Runs in the probe child. Looks at files only; whether a library really loads is asked of `loading`.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import elf
from .facts import Library, LibraryCandidate

CUBLAS = "libcublas.so.12"
CUBLASLT = "libcublasLt.so.12"
CUDNN = "libcudnn.so.9"

#: Loads these files one after another in a process of its own; a version, or the loader's error.
Load = Callable[[Sequence[Path]], "LoadResult"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadResult:
    """How loading went: the version the last library gives for itself, or the true error."""

    version: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LibraryPlace:
    """A folder to look in, and the reason to look there."""

    folder: Path
    found_via: str


def list_places(
    environ: Mapping[str, str],
    *,
    site_packages: Iterable[Path],
    extra_dirs: Iterable[Path],
    root: Path = Path("/"),
) -> list[LibraryPlace]:
    """All folders to look in, the first wins: environment's packages, conda, LD_LIBRARY_PATH, extra, system."""
    places = [
        *_places_of_packages(site_packages),
        *_places_of_conda(environ),
        *_places(_split(environ.get("LD_LIBRARY_PATH", "")), "LD_LIBRARY_PATH"),
        *_places(extra_dirs, "CUDNN_EXTRA_LIB_DIRS"),
        *_places_of_system(environ, root),
    ]
    return _without_repeats(places)


def _places(folders: Iterable[Path], found_via: str) -> list[LibraryPlace]:
    return [LibraryPlace(folder, found_via) for folder in folders]


def _split(value: str) -> list[Path]:
    return [Path(part) for part in value.split(":") if part]


def _places_of_packages(site_packages: Iterable[Path]) -> list[LibraryPlace]:
    return [
        LibraryPlace(folder, f"Python package {folder.parent.name}")
        for packages in site_packages
        for folder in sorted(packages.glob("nvidia/*/lib"))
    ]


def _places_of_conda(environ: Mapping[str, str]) -> list[LibraryPlace]:
    prefix = environ.get("CONDA_PREFIX")
    if not prefix:
        return []
    return _places([Path(prefix, "lib"), *sorted(Path(prefix, "targets").glob("*/lib"))], "conda")


def _places_of_system(environ: Mapping[str, str], root: Path) -> list[LibraryPlace]:
    multiarch = f"{platform.machine()}-linux-gnu"
    places = _places(_ldconfig_folders(root), "ldconfig")
    for name in ("CUDA_PATH", "CUDA_HOME"):
        if environ.get(name):
            places += _places(_toolkit_folders(Path(environ[name])), name)
    for toolkit in [*sorted(root.glob("usr/local/cuda-12*"), reverse=True), root / "usr/local/cuda"]:
        places += _places(_toolkit_folders(toolkit), "system folder")
    for folder in (f"usr/lib/{multiarch}", "usr/lib64", "usr/lib", "opt/cuda/lib64", "usr/local/lib"):
        places.append(LibraryPlace(root / folder, "system folder"))
    return places


def _toolkit_folders(toolkit: Path) -> list[Path]:
    return [toolkit / "lib64", toolkit / "lib", *sorted(toolkit.glob("targets/*/lib"))]


def _ldconfig_folders(root: Path) -> list[Path]:
    """Folders of CUDA libraries in the dynamic linker's cache; another root has no cache to ask."""
    if root != Path("/"):
        return []
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        try:
            listing = subprocess.run(
                [program, "-p"], capture_output=True, text=True, timeout=5, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        return parse_ldconfig(listing)
    return []


def parse_ldconfig(listing: str) -> list[Path]:
    """The folders that `ldconfig -p` gives for cuBLAS and cuDNN, of any version."""
    paths = re.findall(r"^\s*lib(?:cublas|cublasLt|cudnn)\.so\S* .*=> (\S+)$", listing, re.MULTILINE)
    return list(dict.fromkeys(Path(path).parent for path in paths))


def _without_repeats(places: Iterable[LibraryPlace]) -> list[LibraryPlace]:
    """Each existing folder once, under the first reason that named it."""
    seen: dict[Path, LibraryPlace] = {}
    for place in places:
        if place.folder.is_dir():
            seen.setdefault(place.folder.resolve(), place)
    return list(seen.values())


def find_candidates(soname: str, places: Iterable[LibraryPlace]) -> list[LibraryCandidate]:
    """Files of this library in these places, in order; those of another major version are rejected."""
    stem, _, major = soname.rpartition(".")
    candidates: list[LibraryCandidate] = []
    for place in places:
        if (place.folder / soname).exists():
            candidates.append(_candidate(place.folder / soname, place))
            continue
        for path in sorted(place.folder.glob(f"{stem}.*")):
            other = path.name.removeprefix(f"{stem}.")
            if other.isdigit() and other != major:
                candidates.append(_foreign(path, place, soname))
    return candidates


def _candidate(path: Path, place: LibraryPlace) -> LibraryCandidate:
    found = LibraryCandidate(path=str(path), found_via=place.found_via, version=_version_in_name(path))
    fault = elf.find_fault(path)
    return replace(found, rejected=fault, rejected_code="broken") if fault else found


def _foreign(path: Path, place: LibraryPlace, soname: str) -> LibraryCandidate:
    return LibraryCandidate(
        path=str(path),
        found_via=place.found_via,
        version=_version_in_name(path),
        rejected=f"another major version: CTranslate2 opens {soname} by that very name",
        rejected_code="foreign",
    )


def _version_in_name(path: Path) -> str | None:
    """The version in the real file's name, as 12.8.4.1 in libcublas.so.12.8.4.1."""
    version = path.resolve().name.partition(".so.")[2]
    return version if "." in version else None


def choose_cublas(places: Sequence[LibraryPlace], load: Load) -> tuple[Library, Library]:
    """cuBLAS and its cuBLASLt, both from the first folder where the pair really loads and is version 12."""
    lt_candidates = find_candidates(CUBLASLT, places)
    lt_by_folder = {Path(c.path).parent: c for c in lt_candidates}
    chosen: LibraryCandidate | None = None
    looked_at: list[LibraryCandidate] = []
    for candidate in find_candidates(CUBLAS, places):
        if candidate.rejected is None and chosen is not None:
            candidate = replace(candidate, rejected=f"not needed: {chosen.path} comes first")
        elif candidate.rejected is None:
            candidate = _try_pair(candidate, lt_by_folder.get(Path(candidate.path).parent), load)
            chosen = candidate if candidate.rejected is None else None
        looked_at.append(candidate)
    cublas = Library(name=CUBLAS, chosen=chosen, candidates=tuple(looked_at))
    return cublas, _matching_lt(chosen, lt_candidates)


def _try_pair(candidate: LibraryCandidate, lt: LibraryCandidate | None, load: Load) -> LibraryCandidate:
    if lt is None or lt.rejected_code == "foreign":
        why = f"{CUBLASLT} is not beside it"
        return replace(candidate, rejected=why, rejected_code="lt_missing")
    if lt.rejected is not None:
        return replace(candidate, rejected=f"{lt.path}: {lt.rejected}", rejected_code="lt_broken")
    result = load([Path(lt.path), Path(candidate.path)])
    if result.error is not None:
        return replace(candidate, rejected=result.error, rejected_code=_code_of_error(result.error))
    version = result.version or candidate.version
    if version is None or version.partition(".")[0] != "12":
        why = f"it calls itself version {version}, not 12"
        return replace(candidate, version=version, rejected=why, rejected_code="wrong_version")
    return replace(candidate, version=version)


def _code_of_error(error: str) -> str:
    """Whether the loader's words are about the pair not fitting together, or about a broken file."""
    if "undefined symbol: cublasLt" in error or ("libcublasLt" in error and "version `" in error):
        return "lt_mismatch"
    return "lt_broken" if "libcublasLt" in error else "broken"


def _matching_lt(cublas: LibraryCandidate | None, candidates: Sequence[LibraryCandidate]) -> Library:
    """cuBLASLt from the folder of the chosen cuBLAS, and from no other."""
    folder = Path(cublas.path).parent if cublas else None
    chosen: LibraryCandidate | None = None
    looked_at: list[LibraryCandidate] = []
    for candidate in candidates:
        if candidate.rejected is None and Path(candidate.path).parent == folder:
            chosen = candidate
        elif candidate.rejected is None:
            candidate = replace(candidate, rejected="not in the folder of the chosen libcublas.so.12")
        looked_at.append(candidate)
    return Library(name=CUBLASLT, chosen=chosen, candidates=tuple(looked_at))


def choose_cudnn(places: Sequence[LibraryPlace], load: Load, *, needed: bool) -> Library:
    """cuDNN, from the first folder where it loads. Looked for even if nothing needs it, to be shown."""
    chosen: LibraryCandidate | None = None
    looked_at: list[LibraryCandidate] = []
    for candidate in find_candidates(CUDNN, places):
        if candidate.rejected is None and chosen is not None:
            candidate = replace(candidate, rejected=f"not needed: {chosen.path} comes first")
        elif candidate.rejected is None:
            candidate = _try_alone(candidate, load)
            chosen = candidate if candidate.rejected is None else None
        looked_at.append(candidate)
    return Library(name=CUDNN, needed=needed, chosen=chosen, candidates=tuple(looked_at))


def _try_alone(candidate: LibraryCandidate, load: Load) -> LibraryCandidate:
    result = load([Path(candidate.path)])
    if result.error is not None:
        return replace(candidate, rejected=result.error, rejected_code="broken")
    return replace(candidate, version=result.version or candidate.version)
