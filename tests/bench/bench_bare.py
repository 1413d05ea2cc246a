"""What the service is measured against: bare faster-whisper in a process of its own, and a serial server around it.

python bench_bare.py MODEL_FOLDER DEVICE COMPUTE_TYPE: serves on a free port, which it prints. POST /?way=… with the
audio as body answers {text, seconds, first_segment_seconds}, times without the upload. One request at a time, as
most servers do: that is the serial server.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Beam and VAD as the service's own defaults; timestamps on, as only such text makes subtitles.
_OPTIONS: dict[str, Any] = {"beam_size": 5, "vad_filter": True, "without_timestamps": False}


class BareServer:
    """The process, seen from the benchmark."""

    def __init__(self, model: Path, device: str = "cpu", compute_type: str = "int8") -> None:
        self._command = [sys.executable, __file__, str(model), device, compute_type]

    def __enter__(self) -> BareServer:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def transcribe(self, wav: bytes, way: str = "sequential", batch_size: int = 8) -> dict[str, Any]:
        """One request; waits for its turn."""
        query = urllib.parse.urlencode({"way": way, "batch_size": batch_size})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self._port}/?{query}", data=wav, timeout=3600) as answer:
            body: dict[str, Any] = json.load(answer)
        return body


def main(folder: str, device: str, compute_type: str) -> None:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(folder, device=device, compute_type=compute_type)
    batched = BatchedInferencePipeline(model)

    def run(wav: bytes, way: str, batch_size: int) -> Iterable[Any]:
        if way == "batched":
            return batched.transcribe(io.BytesIO(wav), batch_size=batch_size, **_OPTIONS)[0]
        return model.transcribe(io.BytesIO(wav), **_OPTIONS)[0]

    server = _Server(("127.0.0.1", 0), _handler(run))
    print(server.server_port, flush=True)
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    #: Of the socket: with the library's 5, some of many clients that come at once are turned away.
    request_queue_size = 128


def _handler(run: Callable[[bytes, str, int], Iterable[Any]]) -> type[BaseHTTPRequestHandler]:
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802  the library's name
            wav = self.rfile.read(int(self.headers["Content-Length"]))
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            with turn:
                answer = _timed(lambda: run(wav, query["way"], int(query["batch_size"])))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler


def _timed(run: Callable[[], Iterable[Any]]) -> dict[str, Any]:
    begun = time.perf_counter()
    texts: list[str] = []
    first = 0.0
    for segment in run():
        first = first or time.perf_counter() - begun
        texts.append(segment.text)
    return {"text": "".join(texts), "seconds": time.perf_counter() - begun, "first_segment_seconds": first}


if __name__ == "__main__":
    main(*sys.argv[1:])
