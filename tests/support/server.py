"""A real server for tests and scripts: starts flask-app/app.py, waits until it answers, ends its tree."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Answer:
    """An HTTP answer: status, headers (lower-case names) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Server:
    """One server process with its own data folder and port."""

    data_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    python: str = sys.executable

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self, timeout: float = 60.0) -> Server:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.log_path = self.data_dir / "server.log"
        self.log = self.log_path.open("ab")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("WHISPER_")}
        self.process = subprocess.Popen(
            [self.python, str(ROOT / "flask-app" / "app.py")],
            env=inherited
            | {"WHISPER_PORT": str(self.port), "WHISPER_DATA_DIR": str(self.data_dir)}
            | dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        try:
            self.wait_for("/health", timeout)
        except BaseException:
            self.process.kill()
            self.process.wait()
            self.log.close()
            raise
        return self

    def wait_for(self, path: str, timeout: float = 60.0, status: int = 200) -> Answer:
        """Poll until `path` answers with `status`."""
        deadline = time.monotonic() + timeout
        last: object = None
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"server ended with {self.process.returncode}:\n{self.log_text()[-4000:]}")
            try:
                answer = self.get(path, timeout=5)
                if answer.status == status:
                    return answer
                last = (answer.status, answer.body[:500])
            except OSError as error:
                last = error
            time.sleep(0.05)
        raise TimeoutError(f"{path} did not answer {status}: {last}\n{self.log_text()[-4000:]}")

    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace")

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, timeout: float = 30) -> Answer:
        return self.request("GET", path, headers=headers, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Answer:
        request = urllib.request.Request(
            self.url + path, data=body, headers=dict(headers or {}), method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as response:
                return Answer(response.status, _lower(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def transcribe(
        self,
        audio: bytes | Path,
        *,
        name: str = "speech.wav",
        path: str = "/transcribe",
        accept: str = "*/*",
        timeout: float = 300,
        **fields: str,
    ) -> Answer:
        """POST one file as curl -F audio=@file does."""
        payload = audio.read_bytes() if isinstance(audio, Path) else audio
        body, content_type = multipart(payload, name, fields)
        return self.request(
            "POST", path, body=body, headers={"Content-Type": content_type, "Accept": accept}, timeout=timeout
        )

    def children(self) -> dict[int, str]:
        """Every process below this server's, with its command line."""
        return descendants(self.process.pid)

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, as systemctl stop does; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.log.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def multipart(payload: bytes, name: str, fields: Mapping[str, str]) -> tuple[bytes, str]:
    """A multipart/form-data body with the file as field 'audio'."""
    boundary = uuid.uuid4().hex
    parts = []
    for key, value in fields.items():
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        )
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="audio"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + payload
        + b"\r\n"
    )
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def descendants(pid: int) -> dict[int, str]:
    """Processes below `pid` from /proc: pid → command line."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    todo = list(parents.get(pid, []))
    while todo:
        child = todo.pop()
        try:
            found[child] = (Path("/proc") / str(child) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        todo += parents.get(child, [])
    return found


def tree_memory_bytes(pid: int) -> int:
    """Proportional set size of `pid` and all below it, so that shared pages count once."""
    total = 0
    for one in (pid, *descendants(pid)):
        try:
            rollup = (Path("/proc") / str(one) / "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}
