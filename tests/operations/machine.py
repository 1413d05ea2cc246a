"""A Debian machine with systemd as its first process, in systemd-nspawn: boot, run commands, power off."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from operations.root_file_system import CACHE, unpack, wheels

BOOT_SECONDS = 60
STOP_SECONDS = 20
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """One booted machine. It shares the host's network, so that pip works and clients reach it on loopback."""

    def __init__(self, release: str, binds: dict[Path, str]) -> None:
        self.release = release
        self._binds = binds
        self._folder = Path(tempfile.mkdtemp(prefix="machine-", dir=_made(CACHE)))
        self._init = 0
        self._nspawn: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """Its root file system, from outside."""
        return self._folder / "root"

    def __enter__(self) -> Self:
        try:
            unpack(self.release, self.root)
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self, command: str, *, timeout: float = 120, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A shell command as root, in the machine."""
        done = subprocess.run(
            [*self._enter(), "bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{command!r} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def output(self, command: str) -> str:
        return self.run(command).stdout.strip()

    def close(self) -> None:
        """Power off, and leave nothing behind."""
        nspawn = self._nspawn
        if nspawn is not None and nspawn.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                # systemd takes it for "power off".
                os.kill(self._init or nspawn.pid, signal.SIGRTMIN + 4 if self._init else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                nspawn.wait(STOP_SECONDS)
            if nspawn.poll() is None:
                # The end of its first process ends every process of the machine.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._init or nspawn.pid, signal.SIGKILL)
                nspawn.kill()
                nspawn.wait(STOP_SECONDS)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(self._folder)], check=False)

    def _boot(self) -> None:
        command = ["systemd-nspawn", "--quiet", "-b", "-D", str(self.root), "--keep-unit", "--register=no"]
        command += [f"--machine=transcriber-{os.getpid()}", "--console=pipe"]
        command += [f"--bind-ro={host}:{guest}" for host, guest in self._mounts()]
        log = (self._folder / "console.log").open("wb")
        self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            self._init = self._init or _child_of(self._nspawn.pid)
            if self._init and self._state() in ("running", "degraded"):
                return
            time.sleep(0.1)
        raise RuntimeError(f"The machine did not boot: {(self._folder / 'console.log').read_text()[-2000:]}")

    def _mounts(self) -> list[tuple[Path, str]]:
        return [*self._binds.items(), (wheels(self.release), "/wheels")]

    def _state(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.run("systemctl is-system-running", timeout=5, check=False).stdout.strip()
        return ""

    def _enter(self) -> list[str]:
        certificates = "/etc/ssl/certs/ca-certificates.crt"
        environ = [
            f"PATH={PATH}",
            "HOME=/root",
            "LANG=C.UTF-8",
            f"PIP_CERT={certificates}",
            "PIP_FIND_LINKS=/wheels",
            "PIP_NO_INDEX=1",
        ]
        return ["nsenter", "-t", str(self._init), *"-m -u -i -n -p -C -r -w env -i".split(), *environ]


def _child_of(pid: int) -> int:
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False
    )
    return int((found.stdout.split() or ["0"])[0])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
