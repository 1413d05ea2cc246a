"""Folders for our user alone, and disks without room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from transcriber.system.durable_files import is_full, make_folder, make_private, write_small


@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_missing_folders_are_made_for_our_user_alone(tmp_path: Path, mask: int) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(mask)
    try:
        make_private(tmp_path / "a" / "models")
        write_small(tmp_path / "b" / "c" / "file", b"x")
        make_folder(tmp_path / "d" / "spool", "WHISPER_DATA_DIR")
    finally:
        os.umask(before)

    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 6
    assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o700"}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o750)

    make_private(tmp_path / "data" / "models")

    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o750


def test_disk_with_room_is_not_full(tmp_path: Path) -> None:
    assert not is_full(tmp_path)
    assert not is_full(tmp_path / "no such folder")
    assert is_full(Path("/proc"))
