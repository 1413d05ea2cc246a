"""What is seen of an engine from outside: its mapped libraries, its GPU, and NVML's word, which decides nothing."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_gpu import make_device, make_engine, make_status
from transcriber.domain.transcript import Corroboration
from transcriber.gpu.probe.kernels import Kernels
from transcriber.gpu.probe.sharing import SharingFacts
from transcriber.gpu.receipt.corroboration import corroborate
from transcriber.gpu.receipt.engine_facts import look_at
from transcriber.gpu.receipt.mapped_libraries import find_mapped

MAPS = """\
7f0000000000-7f0000001000 r--p 00000000 08:01 11 /opt/my models/ctranslate2.libs/libctranslate2-1a2b3c4d.so.4.8.5
7f0000001000-7f0000002000 r-xp 00001000 08:01 11 /opt/my models/ctranslate2.libs/libctranslate2-1a2b3c4d.so.4.8.5
7f0000003000-7f0000004000 r-xp 00000000 08:01 12 /usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06
7f0000005000-7f0000006000 r-xp 00000000 08:01 13 /venv/nvidia/cublas/lib/libcublas.so.12
7f0000007000-7f0000008000 r-xp 00000000 08:01 14 /venv/nvidia/cublas/lib/libcublasLt.so.12 (deleted)
7f0000009000-7f000000a000 r-xp 00000000 08:01 15 /usr/lib/libcudadebugger.so.1
7f000000b000-7f000000c000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
"""
WORD = Corroboration(verdict="agrees", why="so it is")


def test_mapped_libraries_are_told_with_their_paths(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "maps").write_text(MAPS)

    assert find_mapped(42, tmp_path) == {
        "libcublas": "/venv/nvidia/cublas/lib/libcublas.so.12",
        "libcublasLt": "/venv/nvidia/cublas/lib/libcublasLt.so.12 (deleted)",
        "libctranslate2": "/opt/my models/ctranslate2.libs/libctranslate2-1a2b3c4d.so.4.8.5",
        "libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06",
    }
    assert find_mapped(43, tmp_path) == {}


def test_a_real_library_is_found_in_a_real_process() -> None:
    package = importlib.util.find_spec("ctranslate2")
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parents[1] / "ctranslate2.libs"
    path = next(folder.glob("libctranslate2*.so*"))
    for dependency in folder.glob("libgomp*"):
        ctypes.CDLL(str(dependency))
    ctypes.CDLL(str(path))

    assert find_mapped(os.getpid())["libctranslate2"] == str(path.resolve())


@pytest.mark.parametrize(
    ("capability", "kernels", "is_jit"),
    [("8.9", "machine code 8.6", False), ("9.0", "PTX 8.6 (ISA 8.7), compiled by the driver", True)],
)
def test_receipt_says_whether_the_driver_compiled_the_kernels(
    capability: str, kernels: str, is_jit: bool
) -> None:
    status = make_status(devices=(make_device(compute_capability=capability),))
    carried = Kernels(machine_code=("8.0", "8.6"), ptx=("8.6",), ptx_isa="8.7")
    status = replace(status, ctranslate2=replace(status.ctranslate2, kernels=carried))

    facts = look_at(make_engine(pid=0), status, lambda engine: WORD)

    assert (facts.partition, facts.kernels, facts.is_jit, facts.nvml) == ("whole", kernels, is_jit, WORD)


def test_a_slice_is_named_by_its_profile() -> None:
    slice_ = make_device(name="NVIDIA A100-SXM4-40GB MIG 1g.5gb", is_mig=True, uuid="MIG-1")
    status = make_status(devices=(slice_,))

    assert look_at(make_engine(pid=0, device_uuid="MIG-1"), status, lambda engine: None).partition == "1g.5gb"


def test_an_engine_on_the_cpu_has_no_gpu_to_speak_of() -> None:
    facts = look_at(make_engine(pid=0, device="cpu", device_uuid=None), make_status(), lambda engine: None)

    assert (facts.partition, facts.kernels, facts.is_jit, facts.nvml) == (None, None, None, None)


def facts_of(**changes: Any) -> SharingFacts:
    """A whole card with nobody on it, unless changed."""
    return SharingFacts(**({"other_processes": 0, "unseen_processes": 0} | changes))


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        (facts_of(own_processes={"7": 812_000_000}), "agrees", "process 7, on this GPU with 812 MB"),
        (facts_of(own_processes={"7": None}), "agrees", "process 7, on this GPU"),
        (facts_of(), "disagrees", "process 7, is none of them"),
        (facts_of(own_processes={"8": 1}), "disagrees", "is none of them"),
        (facts_of(other_processes=1, unseen_processes=1), "not_available", "not of this container"),
        (facts_of(mps_signs=("MPS",)), "not_available", "MPS"),
        (facts_of(is_wsl=True), "not_available", "WSL"),
        (SharingFacts(unavailable={"nvml": "no library"}), "not_available", "no library"),
        (SharingFacts(unavailable={"other_processes": "not reported"}), "not_available", "not reported"),
    ],
)
def test_nvml_agrees_disagrees_or_has_no_word(facts: SharingFacts, verdict: str, words: str) -> None:
    word = corroborate(facts, 7)

    assert word.verdict == verdict
    assert words in word.why
