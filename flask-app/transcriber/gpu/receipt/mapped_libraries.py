"""Which of CUDA's and CTranslate2's files a process has mapped, by the kernel's own list: /proc/PID/maps."""

from __future__ import annotations

import re
from pathlib import Path

#: In this order; wheels put a hash behind the name ('libctranslate2-1a2b3c4d.so.4.8.5').
_NAME = re.compile(r"(libcuda|libcublasLt|libcublas|libctranslate2)(?:-[0-9a-f]+)?\.so")

#: Address, permissions, offset, device and inode stand before the path.
_FIELDS_BEFORE_PATH = 5


def find_mapped(pid: int, proc: Path = Path("/proc")) -> dict[str, str]:
    """From 'libcuda', 'libcublas', 'libcublasLt' and 'libctranslate2' to the file; only those that are mapped.

    Mapped is not used; a process that is gone, or that may not be looked at, has none.
    """
    try:
        lines = (proc / str(pid) / "maps").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        if "/lib" not in line:
            continue
        path = (line.split(maxsplit=_FIELDS_BEFORE_PATH)[_FIELDS_BEFORE_PATH:] or [""])[0]
        match = _NAME.match(path.rpartition("/")[2])
        if match is not None:
            found.setdefault(match.group(1), path)
    return dict(sorted(found.items()))
