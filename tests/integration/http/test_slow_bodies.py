"""Nobody without a key holds the service: bodies that never come, crowds from one address, and honest slow uploads."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from media_files import make_tone, make_wave
from server import ROOT, Server, multipart
from silent_bodies import FORM, Crowd, Probe, request_bytes, slow_upload

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
KEY = "a right key of some length"
BEARER = {"Authorization": f"Bearer {KEY}"}

#: Connections that one address may have in the quick form.
MOST = 100


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_GPU_POLICY": "off",
        "WHISPER_API_KEY": KEY,
        "WHISPER_ENGINE_COMMAND": STAND_IN,
        "WHISPER_CONNECTIONS_PER_ADDRESS": str(MOST),
    }
    with Server(tmp_path_factory.mktemp("slow"), env=env) as server:
        server.wait_for("/health/ready")
        yield server


def memory_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def web_worker(server: Server) -> int:
    return min(pid for pid, line in server.children().items() if "gunicorn" in line)


def answer_to(server: Server, data: bytes, timeout: float = 50) -> tuple[bytes, float]:
    """What is answered to these bytes and nothing after them, and after how many seconds the connection is closed."""
    begun, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as sock:
        sock.sendall(data)
        while piece := sock.recv(65_536):
            answer += piece
    return answer, time.monotonic() - begun


CHUNKED = FORM + b"Transfer-Encoding: chunked\r\n"


#: What is sent, and nothing after it; the status of the answer (none: it is just closed), and seconds until then.
UNFINISHED = [
    (request_bytes("/sign-in", 100_000), b"413", 4),
    (request_bytes("/language", 100_000), b"413", 4),
    (request_bytes("/sign-in", 1000), b"408", 12),
    (b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CHUNKED + b"\r\n4\r\nkey=\r\n", b"408", 12),
    (request_bytes("/jobs", 1000), b"401", 6),
    (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ", b"", 20),
]


def dribble(server: Server) -> tuple[bytes, float]:
    """A body of which a byte comes every half second."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(request_bytes("/sign-in", 1000))
        sock.settimeout(0.5)
        answer = b""
        while not answer and time.monotonic() - begun < 30:
            sock.sendall(b"a")
            try:
                answer = sock.recv(100)
            except TimeoutError:
                continue
    return answer, time.monotonic() - begun


def test_what_never_comes_is_let_go_and_dribbling_does_not_help(server: Server) -> None:
    with ThreadPoolExecutor(len(UNFINISHED) + 1) as pool:
        dribbled = pool.submit(dribble, server)
        answers = list(pool.map(lambda one: answer_to(server, one[0]), UNFINISHED))

    for (answer, took), (data, status, seconds) in zip(answers, UNFINISHED, strict=True):
        assert answer[9:12] == status, data
        assert took < seconds, data
    answer, took = dribbled.result()
    assert answer.startswith(b"HTTP/1.1 408")
    assert 8 < took < 14


@pytest.mark.slow
def test_upload_with_a_key_that_stops_is_let_go_within_its_time(server: Server) -> None:
    head = f"Content-Type: multipart/form-data; boundary=x\r\nAuthorization: Bearer {KEY}\r\n".encode()
    part = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nAAAA'
    answer, took = answer_to(server, request_bytes("/jobs", 100_000, part, head))

    assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer
    assert 25 < took < 45


def hold_out(
    server: Server, count: int, seconds: float, length: int, source: str, *, lasting: float = 0.0
) -> tuple[Crowd, Probe, Probe, int, bytes]:
    """A crowd from one address, probes from it and from another, and a slow upload with a key beside it.

    lasting: seconds that the probes go on at least.
    """
    begun = time.monotonic()
    body, content_type = multipart(make_wave(make_tone(2.0)), "a.wav", {})
    crowd = Crowd(server.port, request_bytes("/sign-in", length), source=source)
    headers = [f"{name}: {value}" for name, value in BEARER.items()]
    most = 0
    with (
        Probe(server.port, source=source) as near,
        Probe(server.port, source="127.0.0.9") as far,
        ThreadPoolExecutor(2) as pool,
    ):
        upload = pool.submit(
            slow_upload, server.port, body, content_type, rate=min(50_000, len(body) / 5), headers=headers
        )
        crowd.open(count)
        watching = pool.submit(crowd.watch, seconds)
        while not watching.done() or time.monotonic() - begun < lasting:
            most = max(most, memory_bytes(web_worker(server)))
            time.sleep(0.2)
        answer = upload.result()
    return crowd, near, far, most, answer


def test_crowd_from_one_address_holds_nobody_up(server: Server) -> None:
    crowd, near, far, most, answer = hold_out(server, 6 * MOST, 20, 1000, "127.0.0.2")

    assert (crowd.opened, crowd.still_open) == (6 * MOST, 0)
    assert max(crowd.closed) < 15
    assert near.failures == far.failures == []
    assert near.percentile(0.99) < 1 and far.percentile(0.99) < 1
    assert answer.startswith(b"HTTP/1.1 202")
    crowd.close()


@pytest.mark.slow
@pytest.mark.parametrize("length", [1000, 100_000])
def test_twelve_thousand_silent_bodies(
    serve: Callable[..., Server], length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in cases/attack/13, with the settings as shipped."""
    server = serve(WHISPER_API_KEY=KEY, WHISPER_ENGINE_COMMAND=STAND_IN, WHISPER_GPU_POLICY="off")
    crowd, near, far, most, answer = hold_out(server, 12_100, 75, length, "127.0.0.1", lasting=75)
    with capsys.disabled():
        print(
            f"\nlength={length} opened={crowd.opened} refused={crowd.refused} still_open={crowd.still_open} "
            f"last_closed={max(crowd.closed, default=0):.1f}s rss={most / 1e6:.0f}MB "
            f"near p50={near.percentile(0.5):.3f} p99={near.percentile(0.99):.3f} n={len(near.seconds)} fail={len(near.failures)} "
            f"far p99={far.percentile(0.99):.3f} n={len(far.seconds)} fail={len(far.failures)} upload={answer[:12]!r}"
        )

    assert crowd.still_open == 0 and max(crowd.closed) < 45
    assert near.failures == far.failures == []
    assert near.percentile(0.99) <= 1 and far.percentile(0.99) <= 1
    assert most <= 250e6
    assert answer.startswith(b"HTTP/1.1 202")
