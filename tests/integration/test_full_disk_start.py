"""A store whose disk is full when the service starts: it is called full, and works again once there is room."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from disk_states import mounted
from job_stores import make_job, opened
from transcriber.domain.errors import StorageFullError
from transcriber.system.durable_files import is_full

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("is_kept", [True, False])
def test_full_disk_at_start_is_called_full(tmp_path: Path, is_kept: bool) -> None:
    with mounted(tmp_path / "disk", 2 * 1024**2) as disk, ThreadPoolExecutor(1) as executor:
        store = disk / "data" / "jobs.sqlite3"
        if is_kept:
            with opened(store, executor) as kept:
                kept.add(make_job())
        fill(disk / "ballast")
        assert is_full(disk)

        with (
            pytest.raises(StorageFullError, match=f"The disk of {store.parent} is full"),
            opened(store, executor),
        ):
            pass

        (disk / "ballast").unlink()
        with opened(store, executor) as again:
            assert len(again.list_jobs()) == is_kept
