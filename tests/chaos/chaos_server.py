"""A server that is started again when it ends, as systemd does it: same data folder, same port."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from chaos_tree import Role, find, is_gone, members
from server import ROOT, Server, free_port

STANDIN_COMMAND = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"

#: How long processes that lost their parent may take to end.
ORPHAN_SECONDS = 10.0


def settings(models: Path, *, model: str = "tiny.en", standin: bool = False, **more: str) -> dict[str, str]:
    """What chaos servers are started with."""
    chosen = {
        "WHISPER_MODEL": model,
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_DEVICE": "cpu",
        "WHISPER_WEBHOOK_ALLOW_CIDR": "127.0.0.0/8",
        "WHISPER_DISK_RESERVE_BYTES": "0",
    }
    if standin:
        chosen["WHISPER_ENGINE_COMMAND"] = STANDIN_COMMAND
    return chosen | more


class SupervisedServer(Server):
    """Server with a supervisor; it counts what it had to do."""

    def __init__(self, data_dir: Path, env: Mapping[str, str]) -> None:
        super().__init__(data_dir, env=env, port=free_port())
        self.restarts = 0
        #: Processes that were still there long after their master was killed.
        self.orphans: list[int] = []
        #: Starts that failed, with what the log said.
        self.failed_starts: list[str] = []
        self._stopping = threading.Event()
        self._seen: set[int] = set()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def start(self, timeout: float = 60.0) -> SupervisedServer:
        super().start(timeout)
        self._supervisor.start()
        return self

    def stop(self, timeout: float = 15.0) -> int:
        self._stopping.set()
        self._supervisor.join()
        return super().stop(timeout)

    def pids(self, role: Role) -> list[int]:
        return find(self.pid, role)

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Until it answers that it is ready, through any number of restarts."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                if self.get("/health/ready", timeout=5).status == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {timeout:.0f} s:\n{self.log_text()[-3000:]}")
            time.sleep(0.05)

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            if self.process.poll() is None:
                self._seen = {member.pid for member in members(self.pid)} - {self.pid}
                self._stopping.wait(0.05)
                continue
            self._bury()
            self._start_again()

    def _bury(self) -> None:
        """See that nobody outlives the master."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while left := [pid for pid in self._seen if not is_gone(pid)]:
            if time.monotonic() > deadline:
                self.orphans += left
                return
            time.sleep(0.02)

    def _start_again(self) -> None:
        self.log.close()
        self.restarts += 1
        try:
            super().start(60.0)
        except (RuntimeError, TimeoutError) as error:
            # Ended again, by a kill or by itself: the supervisor's next round sees it.
            self.failed_starts.append(str(error)[-2000:])
        except subprocess.SubprocessError as error:
            self.failed_starts.append(repr(error))
