"""Requests that gunicorn itself refuses, over a raw socket: our error body, our headers, a closed connection."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import Answer, Server

HOST = b"Host: localhost\r\n"
UPLOAD = (
    b"POST /transcribe HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
)
FILE = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="x"\r\n\r\n'


@pytest.fixture(scope="module")
def bare(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has loaded no model."""
    env = {"WHISPER_MODEL_PATH": str(models), "WHISPER_ENGINE_START": "lazy"}
    with Server(tmp_path_factory.mktemp("bare"), env=env) as server:
        yield server


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(
            b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "uri_too_long", id="long URL"
        ),
        pytest.param(
            b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "uri_too_long", id="huge URL"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n",
            431,
            "header_too_large",
            id="large header",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 200 + b"\r\n",
            431,
            "header_too_large",
            id="many headers",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n", 400, "bad_request", id="two hosts"
        ),
        pytest.param(
            b"POST /transcribe HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "bad_request",
            id="two lengths",
        ),
        pytest.param(b"rubbish\r\n\r\n", 400, "bad_request", id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "bad_request", id="TLS"),
        pytest.param(UPLOAD + b"zz\r\nabc", 400, "bad_request", id="chunk size that is none"),
        pytest.param(
            UPLOAD + b"%x\r\n" % len(FILE) + FILE + b"\r\nzz\r\n", 400, "bad_request", id="second chunk size"
        ),
        pytest.param(
            UPLOAD + b"%x\r\n" % len(FILE) + FILE + b"garbage", 400, "bad_request", id="chunk without an end"
        ),
        pytest.param(UPLOAD + b"0\r\nbad trailer\r\n\r\n", 400, "bad_request", id="trailer"),
    ],
)
def test_refusal_has_our_body_and_headers(bare: Server, request_bytes: bytes, status: int, code: str) -> None:
    answer = exchange(bare, request_bytes)

    assert answer.status == status
    assert answer.json["error"]["code"] == code
    assert set(answer.json["error"]) == {"code", "message", "param", "type", "fix"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"] in bare.log_path.read_text()
    assert answer.headers["connection"] == "close"


def test_no_refusal_leaves_a_traceback_or_a_file(bare: Server) -> None:
    exchange(bare, UPLOAD + b"%x\r\n" % len(FILE) + FILE + b"\r\nzz\r\n")

    assert "Traceback" not in bare.log_path.read_text()
    assert list((bare.data_dir / "spool").iterdir()) == []


def exchange(server: Server, request_bytes: bytes) -> Answer:
    """Send these bytes and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert json.loads(body), received
    return Answer(int(first.split()[1]), headers, body)
