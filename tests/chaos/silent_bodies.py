"""A crowd of requests whose bodies never come, and what everybody else sees of the service meanwhile."""

from __future__ import annotations

import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


def request_bytes(path: str, length: int, sent: bytes = b"key=", extra: bytes = b"") -> bytes:
    """The beginning of a POST that announces more than comes."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n".encode()
    return head + (extra or FORM) + b"\r\n" + sent


@dataclass
class Crowd:
    """Connections from one address that send this, and then nothing."""

    port: int
    data: bytes
    source: str = "127.0.0.1"
    opened: int = 0
    refused: int = 0
    began: float = 0.0
    #: Seconds after the last one was opened until each was closed by the service.
    closed: list[float] = field(default_factory=list)

    def open(self, count: int) -> None:
        """Open them one after the other, as fast as they are taken."""
        allow_files(count + 500)
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            sock = socket.socket()
            sock.settimeout(10)
            try:
                sock.bind((self.source, 0))
                sock.connect(("127.0.0.1", self.port))
                sock.sendall(self.data)
            except OSError:
                self.refused += 1
                sock.close()
                continue
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
            self.opened += 1
        self.began = time.monotonic()

    def watch(self, seconds: float) -> None:
        """Read what comes until all are closed, or the time is up."""
        deadline = self.began + seconds
        while self._selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(min(left, 0.2)):
                self._read(key.fileobj)  # type: ignore[arg-type]

    @property
    def still_open(self) -> int:
        return len(self._selector.get_map())

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _read(self, sock: socket.socket) -> None:
        try:
            if sock.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.closed.append(time.monotonic() - self.began)
        self._selector.unregister(sock)
        sock.close()


class Probe:
    """Asks /health/live on a new connection, again and again, and keeps how long each answer took."""

    def __init__(self, port: int, *, source: str = "127.0.0.1", pause: float = 0.1) -> None:
        self._port, self._source, self._pause = port, source, pause
        self._stopped = threading.Event()
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join()

    def percentile(self, share: float) -> float:
        """Of the answers; one that failed counts as ten seconds."""
        found = sorted([*self.seconds, *([10.0] * len(self.failures))])
        return found[min(len(found) - 1, int(share * len(found)))]

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            begun = time.monotonic()
            try:
                with socket.socket() as sock:
                    sock.settimeout(10)
                    sock.bind((self._source, 0))
                    sock.connect(("127.0.0.1", self._port))
                    sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                    if not sock.recv(100).startswith(b"HTTP/1.1 200"):
                        self.failures.append("another answer")
                        continue
            except OSError as error:
                self.failures.append(repr(error))
                continue
            self.seconds.append(time.monotonic() - begun)


def slow_upload(port: int, body: bytes, content_type: str, *, rate: float, headers: Iterable[str]) -> bytes:
    """POST /jobs at so many bytes a second; the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        head = [
            "POST /jobs HTTP/1.1",
            "Host: 127.0.0.1",
            "Connection: close",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        sock.sendall("\r\n".join([*head, "", ""]).encode())
        piece = max(1, int(rate / 10))
        for at in range(0, len(body), piece):
            sock.sendall(body[at : at + piece])
            time.sleep(piece / rate)
        answer = b""
        while data := sock.recv(65_536):
            answer += data
        return answer


def allow_files(count: int) -> None:
    """Raise this process's limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
