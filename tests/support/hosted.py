"""The real service over HTTP inside the test's own process, on a machine whose GPU a test changes while it runs.

The web pages, the service, the probe's child and the engine children are the real ones, but for the stand-in engine;
only gunicorn is not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server

from failure_rows import FailureRow
from fake_gpu import build_driver
from server import ROOT, Server
from transcriber.config import loader
from transcriber.config.loader import Settings
from transcriber.gpu.probe.launcher import GpuProbe, ProbeRequest, probe
from transcriber.server.bootstrap import Composition
from transcriber.system.clock import SystemClock
from transcriber.web import create_app

#: Variables of this machine that would change what the probe sees.
_HIDDEN = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_PATH", "CUDA_HOME", "CONDA_PREFIX")

#: Seconds an engine has to start, and to say something while it works: with patience, and for those that hang.
PATIENT, IMPATIENT = (60, 60), (5, 2)


@dataclass
class HostedServer(Server):
    """A Server without a process of its own."""

    def start(self, timeout: float = 60.0) -> HostedServer:
        raise NotImplementedError("it runs in this process")


class Host:
    """One service; `stage` makes a failure of its machine, and the next job meets it."""

    def __init__(self, folder: Path, model: Path, patience: tuple[int, int] = PATIENT) -> None:
        self._folder = folder
        self._model = model
        self._patience = patience
        self._names = 0
        self.models = folder / "models"
        self.models.mkdir(parents=True)
        self._options = folder / "standin options"
        self._options.write_text("")
        self._driver = build_driver(folder / "driver")
        self._inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in _HIDDEN and not name.startswith(("WHISPER_", "STANDIN_", "FAKE_"))
        }
        self._request = ProbeRequest(environ={}, site_packages=(), root=folder / "empty machine")
        self._composition = self._compose()
        self.application = self._composition.application()
        self.application.start()
        self._web = make_server("127.0.0.1", 0, create_app(self.application), threaded=True)
        threading.Thread(target=self._web.serve_forever, name="web", daemon=True).start()
        self.server = HostedServer(folder / "data", port=self._web.server_port)

    def _compose(self) -> Composition:
        environ = self._inherited | {
            "WHISPER_DATA_DIR": str(self._folder / "data"),
            "WHISPER_MODEL_PATH": str(self.models),
            "WHISPER_MODEL": self.next_model(),
            "WHISPER_ENGINE_COMMAND": f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}",
            "WHISPER_ENGINE_START": "lazy",
            "WHISPER_ENGINE_START_TIMEOUT_SECONDS": str(self._patience[0]),
            "WHISPER_ENGINE_STALL_SECONDS": str(self._patience[1]),
            "STANDIN_FILE": str(self._options),
        }
        return Composition(loader.load(environ), environ, make_probe=self._make_probe)

    def _make_probe(self, settings: Settings, environ: Mapping[str, str], clock: SystemClock) -> GpuProbe:
        """Looks at the machine that was staged last."""
        return GpuProbe(self._request, clock, look=lambda _, clock: probe(self._request, clock))

    def next_model(self) -> str:
        """A model that no engine was started for, so that no earlier failure puts its start off."""
        self._names += 1
        name = f"model-{self._names}"
        (self.models / name).symlink_to(self._model)
        return name

    def stage(self, row: FailureRow) -> str:
        """Make the machine fail as this row says, have it looked at, and give a model to ask for."""
        libraries = self._folder / "libraries" / row.name
        libraries.mkdir(parents=True)
        shutil.copy(self._driver, libraries)
        row.arrange(libraries)
        variables = {"LD_LIBRARY_PATH": str(libraries), "FAKE_COUNT": "1"} | row.variables
        self._request = replace(
            self._request, environ=self._inherited | variables, timeout_seconds=row.timeout
        )
        self._options.write_text(row.options)
        self._end_engines()
        self.status = self._composition.parts.probe.status(max_age=0)
        return self.next_model()

    def close(self) -> None:
        self._web.shutdown()
        self._web.server_close()
        self.application.close()

    def _end_engines(self) -> None:
        """An engine that has proven the GPU would speak for it, whatever the driver says."""
        deadline = time.monotonic() + 10
        while running := self.application.engines():
            for engine in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine.pid, signal.SIGKILL)
            assert time.monotonic() < deadline, running
            time.sleep(0.01)

    def diagnosed(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.server.get("/diagnostics", headers={"Accept": "application/json"}).json
        return facts
