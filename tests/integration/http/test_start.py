"""Starts as operators have them: odd folders, no one to take the log, ports and disks that are taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from disk_states import mounted
from server import ROOT, Server, free_port

SMALL = {"WHISPER_MODEL": "tiny.en", "WHISPER_ENGINE_START": "lazy"}


@contextmanager
def started(
    folder: Path, log: int | None, **environ: str
) -> Iterator[tuple[Server, subprocess.Popen[bytes]]]:
    """A service started in `folder`, whose output goes to `log`; None: both streams are closed. Ended as systemd does."""
    server = Server(data_dir=folder, port=free_port())
    closed = log is None
    server.process = subprocess.Popen(
        [sys.executable, str(ROOT / "flask-app" / "app.py")],
        cwd=folder,
        env=_environ(WHISPER_PORT=str(server.port), **SMALL | environ),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=(lambda: (os.close(1), os.close(2))) if closed else None,
    )
    server.log_path = Path(os.devnull)
    try:
        server.wait_for("/health")
        yield server, server.process
    finally:
        if server.process.poll() is None:
            server.process.terminate()
        server.process.wait(30)


def _environ(**environ: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WHISPER_") and k != "DATA_DIR"}
    return inherited | environ


def status_of_start(**environ: str) -> tuple[int, str]:
    """How a start that is refused ends, and the last line of its log."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "flask-app" / "app.py")],
        env=_environ(**{"WHISPER_PORT": str(free_port())} | SMALL | environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stderr.strip().splitlines()[-1]


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def test_relative_folder_is_below_the_callers_for_service_and_tools(tmp_path: Path) -> None:
    with started(tmp_path, subprocess.DEVNULL, DATA_DIR="./mydata", TRANSCRIPTION_OUTPUT_DIR="./out") as (
        _,
        _process,
    ):
        backup = subprocess.run(
            [ROOT / "scripts" / "backup", "--to", tmp_path / "backups"],
            cwd=tmp_path,
            env=_environ(DATA_DIR="./mydata"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert {"mydata", "out", "backups"} <= {entry.name for entry in tmp_path.iterdir()}
    assert (tmp_path / "mydata" / "jobs.sqlite3").exists()
    assert not (ROOT / "flask-app" / "mydata").exists() and not (ROOT / "flask-app" / "out").exists()
    assert (backup.returncode, backup.stderr) == (0, "")


def test_full_disk_under_the_log_does_not_stop_the_start(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, started(tmp_path, full.fileno(), DATA_DIR="d") as (server, process):
        assert server.get("/health/live").status == 200

    assert process.returncode == 0


def test_closed_streams_do_not_stop_the_start(tmp_path: Path) -> None:
    with started(tmp_path, None, DATA_DIR="d") as (server, process):
        assert server.get("/health/live").status == 200

    assert process.returncode == 0


def test_worker_is_made_again_though_the_reader_of_the_log_is_dead(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with started(tmp_path, writer, DATA_DIR="d") as (server, process):
        os.close(writer)
        os.close(reader)
        [worker] = children_of(process.pid)
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while children_of(process.pid) in ([], [worker]) and time.monotonic() < deadline:
            time.sleep(0.05)
        server.wait_for("/health")

    assert process.returncode == 0


def test_port_in_use_ends_at_once_with_its_own_status() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        began = time.monotonic()
        status, line = status_of_start(WHISPER_PORT=str(other.getsockname()[1]))

    assert (status, "address_in_use" in line) == (5, True)
    assert time.monotonic() - began < 20


def test_data_folder_of_another_process_ends_with_its_own_status(tmp_path: Path) -> None:
    with started(tmp_path, subprocess.DEVNULL, DATA_DIR="d"):
        status, line = status_of_start(DATA_DIR=str(tmp_path / "d"))

    assert (status, "store_in_use" in line) == (6, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_full_disk_is_called_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 6 * 1024 * 1024) as disk:
        models = {"WHISPER_MODEL_PATH": str(ROOT / "data" / "models")}
        with started(tmp_path, subprocess.DEVNULL, DATA_DIR=str(disk / "d"), **models):
            pass
        with (disk / "fill").open("wb", buffering=0) as fill:
            try:
                while fill.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        kept, line = status_of_start(DATA_DIR=str(disk / "d"), WHISPER_DISK_RESERVE_BYTES="0", **models)
        fresh, fresh_line = status_of_start(DATA_DIR=str(disk / "e"), **models)

    assert (kept, fresh) == (7, 7)
    assert f"The disk of {disk / 'd'} is full" in line
    assert f"The disk of {disk / 'e'} is full" in fresh_line
