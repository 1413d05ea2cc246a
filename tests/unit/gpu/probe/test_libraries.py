"""Finding CUDA's libraries: the order of places, the pairs, and why a file is rejected."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from transcriber.gpu.probe.libraries import (
    LibraryPlace,
    LoadResult,
    choose_cublas,
    choose_cudnn,
    list_places,
    parse_ldconfig,
)

#: A file that is a whole ELF file for this machine.
ELF = Path(sys.executable).resolve()


def _put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(ELF, folder / name)
    return folder


def _loads(paths: Sequence[Path]) -> LoadResult:
    return LoadResult(version="12.9.1")


PAIR = ("libcublas.so.12", "libcublasLt.so.12")


def test_places_come_in_the_documented_order(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    folders = [
        _put(site / "nvidia/cublas/lib"),
        _put(tmp_path / "conda/lib"),
        _put(tmp_path / "ld"),
        _put(tmp_path / "extra"),
        _put(tmp_path / "cuda_path/lib64"),
        _put(tmp_path / "root/usr/local/cuda-12.8/lib64"),
        _put(tmp_path / "root/usr/lib64"),
    ]
    environ = {
        "CONDA_PREFIX": str(tmp_path / "conda"),
        "LD_LIBRARY_PATH": f"{tmp_path / 'ld'}::{tmp_path / 'not there'}",
        "CUDA_PATH": str(tmp_path / "cuda_path"),
    }

    places = list_places(
        environ, site_packages=[site], extra_dirs=[tmp_path / "extra"], root=tmp_path / "root"
    )

    assert [place.folder for place in places] == folders
    assert [place.found_via for place in places] == [
        "Python package cublas",
        "conda",
        "LD_LIBRARY_PATH",
        "CUDNN_EXTRA_LIB_DIRS",
        "CUDA_PATH",
        "system folder",
        "system folder",
    ]


def test_folder_named_twice_is_looked_at_once(tmp_path: Path) -> None:
    environ = {"LD_LIBRARY_PATH": f"{tmp_path}:{tmp_path}/."}

    places = list_places(environ, site_packages=[], extra_dirs=[tmp_path], root=tmp_path / "none")

    assert [place.found_via for place in places] == ["LD_LIBRARY_PATH"]


def test_first_pair_that_loads_is_chosen_and_the_next_is_not_needed(tmp_path: Path) -> None:
    first, second = _put(tmp_path / "a", *PAIR), _put(tmp_path / "b", *PAIR)

    cublas, lt = choose_cublas([LibraryPlace(first, "conda"), LibraryPlace(second, "ldconfig")], _loads)

    assert cublas.chosen is not None and lt.chosen is not None
    assert (cublas.chosen.path, cublas.chosen.version) == (str(first / PAIR[0]), "12.9.1")
    assert lt.chosen.path == str(first / PAIR[1])
    assert "comes first" in str(cublas.candidates[1].rejected)
    assert "not in the folder" in str(lt.candidates[1].rejected)


def test_lt_is_loaded_first_and_from_the_same_folder(tmp_path: Path) -> None:
    folder = _put(tmp_path, *PAIR)
    asked: list[list[Path]] = []

    def load(paths: Sequence[Path]) -> LoadResult:
        asked.append(list(paths))
        return LoadResult(version="12.8.4")

    choose_cublas([LibraryPlace(folder, "conda")], load)

    assert asked == [[folder / "libcublasLt.so.12", folder / "libcublas.so.12"]]


def test_broken_pair_is_passed_over_with_the_loaders_words(tmp_path: Path) -> None:
    bad, good = _put(tmp_path / "a", *PAIR), _put(tmp_path / "b", *PAIR)

    def load(paths: Sequence[Path]) -> LoadResult:
        if paths[0].parent == bad:
            return LoadResult(
                error=f"{bad}/libcublas.so.12: undefined symbol: cublasLtNew, version libcublasLt.so.12"
            )
        return LoadResult(version="12.8.4")

    cublas, _ = choose_cublas([LibraryPlace(bad, "LD_LIBRARY_PATH"), LibraryPlace(good, "ldconfig")], load)

    assert cublas.chosen is not None and cublas.chosen.path == str(good / PAIR[0])
    assert "undefined symbol: cublasLtNew" in str(cublas.candidates[0].rejected)
    assert cublas.candidates[0].rejected_code == "lt_mismatch"


def test_cublas_without_its_lt_is_rejected_unloaded(tmp_path: Path) -> None:
    folder = _put(tmp_path, "libcublas.so.12")

    def load(paths: Sequence[Path]) -> LoadResult:
        raise AssertionError("must not be loaded")

    cublas, _ = choose_cublas([LibraryPlace(folder, "conda")], load)

    assert cublas.chosen is None
    assert cublas.candidates[0].rejected_code == "lt_missing"


def test_other_major_versions_are_named_and_rejected(tmp_path: Path) -> None:
    folder = _put(tmp_path / "nvidia/cu13/lib", "libcublas.so.13", "libcublasLt.so.13")

    cublas, _ = choose_cublas([LibraryPlace(folder, "Python package cu13")], _loads)

    assert cublas.chosen is None
    assert [(c.path, c.rejected_code) for c in cublas.candidates] == [
        (str(folder / "libcublas.so.13"), "foreign")
    ]


def test_library_that_calls_itself_13_is_rejected(tmp_path: Path) -> None:
    folder = _put(tmp_path, *PAIR)

    cublas, lt = choose_cublas([LibraryPlace(folder, "conda")], lambda paths: LoadResult(version="13.0.1"))

    assert cublas.chosen is None and lt.chosen is None
    assert cublas.candidates[0].rejected == "it calls itself version 13.0.1, not 12"


def test_version_is_read_from_the_real_files_name(tmp_path: Path) -> None:
    folder = _put(tmp_path, "libcudnn.so.9.10.2")
    (folder / "libcudnn.so.9").symlink_to("libcudnn.so.9.10.2")

    cudnn = choose_cudnn([LibraryPlace(folder, "ldconfig")], lambda paths: LoadResult(), needed=False)

    assert cudnn.chosen is not None and cudnn.chosen.version == "9.10.2"
    assert not cudnn.needed


def test_cudnn_that_does_not_load_is_rejected_with_the_loaders_words(tmp_path: Path) -> None:
    folder = _put(tmp_path, "libcudnn.so.9")

    cudnn = choose_cudnn(
        [LibraryPlace(folder, "conda")], lambda paths: LoadResult(error="no such symbol"), needed=True
    )

    assert cudnn.chosen is None
    assert cudnn.candidates[0].rejected == "no such symbol"


def test_ldconfig_listing_gives_folders_of_cuda_libraries() -> None:
    listing = (
        "2 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibcublas.so.12 (libc6,x86-64) => /usr/local/cuda/targets/x86_64-linux/lib/libcublas.so.12\n"
        "\tlibcublasLt.so.12 (libc6,x86-64) => /usr/local/cuda/targets/x86_64-linux/lib/libcublasLt.so.12\n"
        "\tlibcudnn.so.9 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcudnn.so.9\n"
        "\tlibz.so.1 (libc6,x86-64) => /usr/other/libz.so.1\n"
    )

    assert parse_ldconfig(listing) == [
        Path("/usr/local/cuda/targets/x86_64-linux/lib"),
        Path("/lib/x86_64-linux-gnu"),
    ]
