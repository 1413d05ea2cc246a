"""Really loading libraries, in a process of its own: a damaged one may kill it, and loaded ones stay.

`python -m transcriber.gpu.probe.loading LIFELINE PATH…` loads the files in order and prints one JSON line.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .libraries import LoadResult
from .lifeline import end_with_parent

#: A library that takes longer than this to load will not load.
TIMEOUT_SECONDS = 15


def load_in_child(paths: Sequence[Path], lifeline: int) -> LoadResult:
    """Load these files, in order, in a child. The error is the dynamic loader's own."""
    command = [sys.executable, "-P", "-m", __name__, str(lifeline), *map(str, paths)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            pass_fds=(lifeline,),
        )
    except subprocess.TimeoutExpired:
        return LoadResult(error=f"loading it did not end within {TIMEOUT_SECONDS} s")
    if done.returncode != 0:
        return LoadResult(error=f"loading it ended the process with status {done.returncode}")
    return LoadResult(**json.loads(done.stdout))


def load(paths: Sequence[Path]) -> LoadResult:
    """Load these files into this process, in order; the version is the last one's."""
    try:
        libraries = [ctypes.CDLL(str(path)) for path in paths]
    except OSError as error:
        return LoadResult(error=str(error))
    return LoadResult(version=_version(libraries[-1]))


def _version(library: ctypes.CDLL) -> str | None:
    """What the library says of itself: cuBLAS by properties, cuDNN by one number (92800 is 9.28.0)."""
    if hasattr(library, "cublasGetProperty"):
        return ".".join(str(_property(library, which)) for which in range(3))
    if hasattr(library, "cudnnGetVersion"):
        library.cudnnGetVersion.restype = ctypes.c_size_t
        number = library.cudnnGetVersion()
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return None


def _property(library: ctypes.CDLL, which: int) -> int:
    value = ctypes.c_int(-1)
    library.cublasGetProperty(which, ctypes.byref(value))
    return value.value


def main(arguments: Sequence[str]) -> None:
    end_with_parent(int(arguments[0]))
    result = load([Path(argument) for argument in arguments[1:]])
    os.write(1, json.dumps(asdict(result)).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
