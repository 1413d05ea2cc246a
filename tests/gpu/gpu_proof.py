"""Proofs that the GPU computed, each in a process of its own, and the measurements of gpu_truth §7."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transcriber.gpu.environment import engine_environment
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.probe.launcher import ProbeRequest, probe
from transcriber.system.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("gpu_proof_child.py")

#: Where the tests look for the model: a folder with model.bin.
VARIABLE = "WHISPER_TEST_MODEL_DIR"

#: Cosine between the encoder's numbers and those of the CPU in float32, at least. Bounds of reason, not measured yet.
LEAST_COSINE = {
    "float32": 0.9999,
    "float16": 0.999,
    "bfloat16": 0.99,
    "int8_float32": 0.97,
    "int8_float16": 0.97,
    "int8_bfloat16": 0.95,
}

Facts = dict[str, Any]


class ProofError(Exception):
    """A process of the proof failed; the text has its last words."""


@dataclass(frozen=True)
class Run:
    """What one process said of its window, and the encoder's numbers."""

    facts: Facts
    numbers: np.ndarray

    @property
    def is_framework_sure(self) -> bool:
        """Proof A: CTranslate2's own word on the output's device."""
        return str(self.facts["device"]).startswith("cuda")

    @property
    def is_pointer_on_device(self) -> bool:
        """Proof B: the driver's word on the output's address."""
        return bool(self.facts["where"]["is_on_device"])

    @property
    def pool_growth(self) -> int:
        """Proof C: how far the pool's high-water mark rose above what was in use before the window."""
        before, after = self.facts["pool_before"], self.facts["pool_after"]
        return 0 if before is None or after is None else max(0, after["high"] - before["used"])

    @property
    def pool_used_before(self) -> int:
        """Bytes in the pool before the window: the weights, on a GPU."""
        return 0 if self.facts["pool_before"] is None else int(self.facts["pool_before"]["used"])

    def is_right(self, reference: np.ndarray) -> bool:
        """Proof D: finite, not all the same, and close to the reference of the CPU."""
        is_sound = self.facts["is_finite"] and self.facts["spread"] > 1e-4
        least = LEAST_COSINE[self.facts["compute_type"]]
        return bool(is_sound and cosine(self.numbers, reference) >= least)


def cosine(some: np.ndarray, others: np.ndarray) -> float:
    """1: the same direction."""
    a, b = some.ravel().astype(np.float64), others.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) or 1.0))


def distance(some: np.ndarray, others: np.ndarray) -> float:
    """The self-test's measure: the length of the difference, by that of the others."""
    return float(np.linalg.norm(some - others) / (np.linalg.norm(others) or 1.0))


class Bench:
    """Starts the processes of the proof with the environment that an engine would get."""

    def __init__(self, status: GpuStatus, model: Path, folder: Path, repeats: int = 5) -> None:
        """repeats: timings are the median of so many passes."""
        self._repeats = repeats
        self.status = status
        self.model = model
        self._folder = folder

    def prove(self, device: str, compute_type: str, **variables: str) -> Run:
        """One window of speech on 'cuda' or 'cpu'. Raises ProofError."""
        with tempfile.NamedTemporaryFile(suffix=".npy", dir=self._folder) as file:
            facts = self.ask("prove", device, compute_type, numbers=file.name, **variables)
            return Run(facts, np.load(file.name))

    def ask(self, step: str, device: str, compute_type: str, *, numbers: str = "", **variables: str) -> Facts:
        """One step of gpu_proof_child. A variable that is empty is unset. Raises ProofError."""
        order = {
            "model": str(self.model),
            "device": device,
            "compute_type": compute_type,
            "numbers": numbers,
            "repeats": self._repeats,
        }
        command = [sys.executable, str(CHILD), step, json.dumps(order)]
        environ = {name: value for name, value in self.environ(variables).items() if value}
        done = subprocess.run(command, capture_output=True, env=environ, timeout=600, check=False)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
            raise ProofError(f"{step} on {device} ended with {done.returncode}: {' / '.join(words)}")
        facts: Facts = json.loads(done.stdout)
        return facts

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        """An engine's, with the GPU visible also to processes that compute on the CPU: the negative controls."""
        cache = self._folder / "cache"
        base = engine_environment(os.environ, device="cuda", status=self.status, cache_dir=cache)
        paths = (ROOT / "flask-app", ROOT / "tests" / "gpu")
        return base | {"PYTHONPATH": os.pathsep.join(map(str, paths))} | dict(variables)


def find_gpu() -> GpuStatus:
    """This machine's GPU as the service would see it."""
    request = ProbeRequest(environ=dict(os.environ), gpu_device=os.environ.get("WHISPER_GPU_DEVICE", "0"))
    return probe(request, SystemClock())


def find_model() -> Path | None:
    """The folder that the variable names, if it has a model."""
    named = os.environ.get(VARIABLE)
    return Path(named).resolve() if named and (Path(named) / "model.bin").is_file() else None


def why_not(status: GpuStatus, model: Path | None) -> str | None:
    """Why nothing can be proven here; None: it can."""
    if not status.usable:
        cause = status.cause
        return f"no usable GPU here ({cause.code}: {cause.message})" if cause else "no usable GPU here"
    if model is None:
        return f"{VARIABLE} names no folder with model.bin"
    return None


def folder_bytes(folder: Path) -> int:
    """All files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
