"""Uploads in parts over a real server: a reset, a stalled connection and a kill lose nothing, and the text is the same.

RESUMABLE_UPLOADS=500 RESUMABLE_BYTES=50000000 is the long form of the cuts.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server import Answer, Server
from transcriber.jobs.files.spool import Spool

pytestmark = pytest.mark.model

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"
UPLOADS = int(os.environ.get("RESUMABLE_UPLOADS", "20"))
SIZE = int(os.environ.get("RESUMABLE_BYTES", "2000000"))


def create(server: Server, length: int) -> str:
    answer = server.request("POST", "/uploads", headers=TUS | {"Upload-Length": str(length)})
    assert answer.status == 201, answer.text
    return answer.headers["location"]


def offset_of(server: Server, path: str) -> int:
    return int(server.request("HEAD", path, headers=TUS).headers["upload-offset"])


def send(server: Server, path: str, data: bytes, offset: int) -> Answer:
    headers = TUS | {"Upload-Offset": str(offset), "Content-Type": BYTES}
    return server.request("PATCH", path, body=data[offset:], headers=headers)


def begin_to_send(server: Server, path: str, data: bytes, offset: int, end: int) -> socket.socket:
    """A connection that announces all the rest and sends only up to `end`."""
    sock = socket.create_connection(("127.0.0.1", server.port))
    head = [
        f"PATCH {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Content-Length: {len(data) - offset}",
    ]
    head += [
        f"{name}: {value}" for name, value in {**TUS, "Upload-Offset": offset, "Content-Type": BYTES}.items()
    ]
    sock.sendall("\r\n".join([*head, "", ""]).encode() + data[offset:end])
    return sock


def reset(sock: socket.socket) -> None:
    """RST, as when a network goes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_cut_uploads_arrive_whole(shared: Server) -> None:
    """Each is cut twice at random; nothing differs, and no more than what was on the way is sent again."""
    chance = random.Random(7)
    spool = Spool(shared.data_dir / "spool", 0)
    resent, sent = [], set()
    for _ in range(UPLOADS):
        data = chance.randbytes(SIZE)
        path, offset = create(shared, SIZE), 0
        sent.add(path.rpartition("/")[2])
        for _ in range(2):
            end = chance.randrange(offset, SIZE)
            sock = begin_to_send(shared, path, data, offset, end)
            time.sleep(0.02)
            sock.close() if chance.random() < 0.5 else reset(sock)
            arrived = offset_of(shared, path)
            assert offset <= arrived <= end
            resent.append(end - arrived)
            offset = arrived
        assert send(shared, path, data, offset).status == 204
        arrived_bytes = spool.upload_path(path.rpartition("/")[2]).read_bytes()
        assert hashlib.sha256(arrived_bytes).digest() == hashlib.sha256(data).digest()
        assert shared.request("DELETE", path, headers=TUS).status == 204

    print(f"{UPLOADS} of {UPLOADS} equal; sent again: at most {max(resent)} bytes")
    assert not sent & spool.ids()


def test_stalled_connection_is_taken_over(shared: Server) -> None:
    data = os.urandom(500_000)
    path = create(shared, len(data))
    stalled = begin_to_send(shared, path, data, 0, 200_000)
    deadline = time.monotonic() + 10
    while int(shared.get(path).json["offset"]) < 100_000:
        assert time.monotonic() < deadline

    offset = offset_of(shared, path)
    assert send(shared, path, data, offset).status == 204

    stalled.settimeout(5)
    assert stalled.recv(10_000)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 409")
    stalled.close()
    assert shared.get(path).json["offset"] == len(data)


def test_upload_outlives_a_kill_and_its_text_is_the_same(serve: Callable[..., Server], speech: Path) -> None:
    server = serve()
    data = speech.read_bytes()
    half = len(data) // 2
    path = create(server, len(data))
    assert send(server, path, data[:half], 0).status == 204
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()
    server.log.close()
    server.start()
    server.wait_for("/health/ready")

    assert offset_of(server, path) == half
    assert send(server, path, data, half).status == 204
    form = f"upload={path.rpartition('/')[2]}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    job = server.request("POST", "/jobs", body=form, headers=headers)
    assert job.status == 202, job.text
    deadline = time.monotonic() + 120
    while (now := server.get(job.headers["location"]).json)["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert now["text"] == server.transcribe(speech).json["text"]
    assert server.request("HEAD", path, headers=TUS).status == 404
