"""podman and buildah, with a store for images of their own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operations.root_file_system import CACHE


@contextmanager
def storage() -> Iterator[dict[str, str]]:
    """A store for images of this run's own, so that nothing of the machine's is touched and nothing stays."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="images-", dir=CACHE))
    config = folder / "storage.conf"
    config.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    try:
        yield {"CONTAINERS_STORAGE_CONF": str(config)}
    finally:
        call("podman", "image", "unmount", "--all")
        for place in sorted(_mounts_below(folder), reverse=True):
            call("umount", place)
        # A mount that stays shows a folder of the machine's, such as /dev: then nothing is removed.
        if left := _mounts_below(folder):
            print(f"NOT REMOVED {folder}: still mounted: {left}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _mounts_below(folder: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{folder}/")]


def call(*command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
    )
