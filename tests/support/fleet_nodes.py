"""Nodes of a fleet for tests: web nodes and workers, each with a folder of its own, over one database and one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from server import ROOT, Server

STANDIN = f"{sys.executable} {ROOT / 'tests/support/standin_engine.py'}"


class WorkerProcess:
    """One fleet worker."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True)
        self.log_path = folder / "worker.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WHISPER_")}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "transcriber", "worker"],
                env=inherited
                | {"PYTHONPATH": str(ROOT / "flask-app"), "WHISPER_DATA_DIR": str(folder / "data")}
                | dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(30)


class FleetNodes:
    """Starts nodes of one fleet, and stops all of them."""

    def __init__(self, folder: Path, database_url: str, **env: str) -> None:
        self._folder = folder
        self.shared = folder / "shared"
        self.shared.mkdir()
        self._env = {
            "WHISPER_DATABASE_URL": database_url,
            "WHISPER_BLOB_URL": f"file://{self.shared}",
            "WHISPER_GPU_POLICY": "off",
            "WHISPER_MODEL": "tiny.en",
            "WHISPER_PIPELINE_CHECK_SECONDS": "0",
            "WHISPER_MAX_RUNNING": "1",
            "WHISPER_SHORT_SLOTS": "0",
        } | env
        self.webs: list[Server] = []
        self.workers: list[WorkerProcess] = []

    def web(self, until: str = "/health/ready") -> Server:
        server = Server(self._folder / f"web{len(self.webs)}", env=self._env | {"WHISPER_ROLE": "web"})
        self.webs.append(server)
        server.start()
        if until:
            server.wait_for(until)
        return server

    def worker(self, **env: str) -> WorkerProcess:
        worker = WorkerProcess(self._folder / f"worker{len(self.workers)}", self._env | env)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for server in self.webs:
            server.stop()
        for worker in self.workers:
            worker.stop()
