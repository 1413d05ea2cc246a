"""A line between a browser and a server that can be slow, and be cut as a network is: with a reset, in mid-upload."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType


class CutLine:
    """Relays TCP connections from a port of its own. `up_rate`: bytes a second towards the server; 0: no limit."""

    def __init__(self, port: int, up_rate: int = 0) -> None:
        self._target = ("127.0.0.1", port)
        self._up_rate = up_rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Else the kernel takes megabytes at once, and a sender sees them gone that have not arrived.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = threading.Event()
        self._is_closed = threading.Event()
        self.sent_up = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Reset what is open; from now on every connection is reset."""
        self._is_cut.set()
        with self._lock:
            for end in self._open:
                _reset(end)

    def mend(self) -> None:
        """Connections get through again."""
        self._is_cut.clear()

    def close(self) -> None:
        self._is_closed.set()
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def __enter__(self) -> CutLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                near, _ = self._listener.accept()
                if self._is_cut.is_set():
                    _reset(near)
                    near.close()
                    continue
                far = socket.create_connection(self._target)
            except OSError:
                continue
            with self._lock:
                self._open |= {near, far}
            self._threads.append(threading.Thread(target=self._connect, args=(near, far), daemon=True))
            self._threads[-1].start()

    def _connect(self, near: socket.socket, far: socket.socket) -> None:
        """Both ways, until both are over."""
        back = threading.Thread(target=self._relay, args=(far, near, 0), daemon=True)
        back.start()
        self._relay(near, far, self._up_rate)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _relay(self, source: socket.socket, sink: socket.socket, rate: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16 * 1024):
                sink.sendall(data)
                if rate:
                    self.sent_up += len(data)
                    self._is_closed.wait(len(data) / rate)
        if self._is_cut.is_set():
            # Only the close sends the reset; a shutdown alone leaves a sender that believes in it.
            source.close()
            sink.close()
            return
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    """RST instead of a farewell, also for a thread that is reading from it."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
