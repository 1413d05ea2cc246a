"""A real engine child, driven over its protocol: the tests' stand-in for the service."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transcriber.engine.protocol import Message, ProtocolError, receive_message, send_message

SOURCES = Path(__file__).resolve().parents[2] / "flask-app"


@dataclass
class Answer:
    """Everything the child said about one job, in order."""

    messages: list[Message] = field(default_factory=list)

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.messages]

    @property
    def last(self) -> Message:
        return self.messages[-1]

    @property
    def segments(self) -> list[dict[str, Any]]:
        return [message["segment"] for message in self.of("segment")]

    @property
    def text(self) -> str:
        return "".join(segment["text"] for segment in self.segments).strip()

    @property
    def language(self) -> str:
        return str(self.of("language")[0]["language"])


class EngineDriver:
    """Starts a child and talks to it. A thread reads, so that neither side can block the other."""

    def __init__(self, model: str, model_path: Path, **config: Any) -> None:
        ours, theirs = socket.socketpair()
        given = {
            "model": model,
            "model_path": str(model_path),
            "device": "cpu",
            "compute_type": "int8",
            "cpu_threads": 0,
            "cpu_lanes": 0,
            **config,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "transcriber.engine.child.main", str(theirs.fileno()), json.dumps(given)],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
        )
        theirs.close()
        self._sock = ours
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._is_closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, timeout: float = 120) -> Message:
        """The child's first message: ready or start_failed."""
        return self.wait_for(lambda m: m["type"] in ("ready", "start_failed"), timeout)

    def submit(
        self,
        job_id: str,
        pcm: Path,
        samples: int | None = None,
        *,
        lane: str = "long",
        resumption: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        count = pcm.stat().st_size // 2 if samples is None else samples
        self.send(
            {
                "type": "transcribe",
                "job_id": job_id,
                "pcm_path": str(pcm),
                "samples": count,
                "options": options,
                "lane": lane,
                "resumption": resumption,
            }
        )

    def cancel(self, job_id: str) -> None:
        self.send({"type": "cancel", "job_id": job_id})

    def send(self, message: Message) -> None:
        send_message(self._sock, message)

    def answer(self, job_id: str, timeout: float = 180) -> Answer:
        """Waits for the job's last message."""
        ends = ("done", "error", "cancelled")
        self.wait_for(lambda m: m.get("job_id") == job_id and m["type"] in ends, timeout)
        return self.said(job_id)

    def said(self, job_id: str) -> Answer:
        """What the child has said of the job so far."""
        with self._changed:
            return Answer([m for m in self._messages if m.get("job_id") == job_id])

    def transcribe(self, job_id: str, pcm: Path, **options: Any) -> Answer:
        self.submit(job_id, pcm, **options)
        return self.answer(job_id)

    def wait_for(self, matches: Callable[[Message], bool], timeout: float) -> Message:
        """The first message that matches. TimeoutError when none came, ConnectionError when none can."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for message in self._messages:
                    if matches(message):
                        return message
                if self._is_closed:
                    raise ConnectionError("the child closed its socket")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError("the child did not say it in time")

    def has_said(self, matches: Callable[[Message], bool]) -> bool:
        with self._changed:
            return any(matches(message) for message in self._messages)

    def hang_up(self) -> None:
        """Close the socket, as a service does that dies."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        try:
            self.hang_up()
        except OSError:
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(20)
        self._sock.close()

    def _read(self) -> None:
        while True:
            try:
                message = receive_message(self._sock)
            except (OSError, ProtocolError):
                message = None
            with self._changed:
                if message is None:
                    self._is_closed = True
                else:
                    self._messages.append(message)
                self._changed.notify_all()
            if message is None:
                return


def write_pcm(path: Path, audio: np.ndarray) -> Path:
    """Audio as the media child leaves it in the spool: int16, 16 kHz, without a header."""
    (np.clip(audio, -1, 1) * 32767).astype("<i2").tofile(path)
    return path


def read_pcm(path: Path) -> np.ndarray:
    return np.fromfile(path, "<i2").astype(np.float32) / 32768.0
