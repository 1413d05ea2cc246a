"""As much of the Hugging Face hub as a download of one repository asks for, on loopback; it can be slow, cut off, and refuse."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHUNK_BYTES = 1 << 16

#: A file's content: bytes, or a file to be sent as it is.
Content = bytes | Path


class Hub(ThreadingHTTPServer):
    """Serves one repository at one revision."""

    daemon_threads = True

    def __init__(self, repository: str, revision: str, files: Mapping[str, Content]) -> None:
        super().__init__(("127.0.0.1", 0), HubPages)
        self.repository = repository
        self.revision = revision
        self.files = dict(files)
        #: Names of files whose content was asked for, and from which byte on.
        self.served: list[str] = []
        self.begun_at: list[int] = []
        #: Bytes of model.bin after which the connection is cut, once for each entry.
        self.cuts: list[int] = []
        #: Status that model.bin's content is refused with; 0: none.
        self.refusal = 0
        self.seconds_per_chunk = 0.0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def size(self, name: str) -> int:
        content = self.files[name]
        return len(content) if isinstance(content, bytes) else content.stat().st_size

    def etag(self, name: str) -> str:
        content = self.files[name]
        return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()

    def read(self, name: str, begin: int) -> bytes:
        content = self.files[name]
        return (content if isinstance(content, bytes) else content.read_bytes())[begin:]


class HubPages(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        hub = self.server
        path = self.path.split("?")[0]
        if path == f"/api/models/{hub.repository}/revision/{hub.revision}":
            siblings = [{"rfilename": name} for name in hub.files]
            return self.reply({"id": hub.repository, "sha": hub.revision, "siblings": siblings}, body)
        if path == f"/api/models/{hub.repository}/tree/{hub.revision}":
            tree = [
                {"type": "file", "path": name, "size": hub.size(name), "oid": hub.etag(name)[:40]}
                for name in hub.files
            ]
            return self.reply(tree, body)
        name = path.removeprefix(f"/{hub.repository}/resolve/{hub.revision}/")
        if name not in hub.files:
            return self.send_error(404)
        if body and name == "model.bin" and hub.refusal:
            return self.send_error(hub.refusal)
        return self.send_file(name, body)

    def reply(self, value: object, body: bool) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def send_file(self, name: str, body: bool) -> None:
        hub = self.server
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(hub.size(name) - begin))
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{hub.size(name) - 1}/{hub.size(name)}")
        self.send_header("ETag", f'"{hub.etag(name)}"')
        self.send_header("X-Repo-Commit", hub.revision)
        self.end_headers()
        if not body:
            return
        hub.served.append(name)
        if name == "model.bin":
            hub.begun_at.append(begin)
        self.send_content(
            hub.read(name, begin), hub.cuts.pop(0) if name == "model.bin" and hub.cuts else None
        )

    def send_content(self, content: bytes, cut: int | None) -> None:
        for at in range(0, len(content), CHUNK_BYTES):
            if cut is not None and at >= cut:
                self.close_connection = True
                return
            self.wfile.write(content[at : at + CHUNK_BYTES])
            if self.server.seconds_per_chunk:
                time.sleep(self.server.seconds_per_chunk)

    def log_message(self, *args: object) -> None: ...
