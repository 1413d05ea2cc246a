"""Clients that ask at a steady rate and count what they lost: a refused, reset or unanswered request, or any status but 2xx."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

TIMEOUT_SECONDS = 60.0


@dataclass
class Request:
    """One kind of request."""

    method: str = "GET"
    path: str = "/health"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Sent:
    """One request that was sent: its answer, or what went wrong."""

    at: float
    seconds: float
    status: int = 0
    body: bytes = b""
    error: str = ""

    @property
    def is_lost(self) -> bool:
        return not 200 <= self.status < 300


class Traffic:
    """Asks in the background from entry to exit; `kinds` are taken in turn."""

    def __init__(self, address: str, kinds: list[Request], rate: float = 20.0) -> None:
        self._address = address
        self._kinds = kinds
        self._rate = rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.sent: list[Sent] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def lost(self) -> list[Sent]:
        return [each for each in self.sent if each.is_lost]

    @property
    def longest(self) -> float:
        """Seconds that the slowest answer took."""
        return max((each.seconds for each in self.sent), default=0.0)

    def _run(self) -> None:
        begun, number = time.monotonic(), 0
        with ThreadPoolExecutor(max_workers=512) as pool:
            while not self._over.wait(max(0.0, begun + number / self._rate - time.monotonic())):
                pool.submit(self.send, self._kinds[number % len(self._kinds)])
                number += 1

    def send(self, request: Request) -> None:
        """One request, noted in `sent`."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(request.method, request.path, request.body or None, request.headers)
            answer = connection.getresponse()
            sent = Sent(begun, 0.0, answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            sent = Sent(begun, 0.0, error=f"{type(error).__name__}: {error}")
        finally:
            connection.close()
        sent.seconds = time.monotonic() - begun
        self.sent.append(sent)
