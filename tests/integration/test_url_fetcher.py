"""Files fetched over real sockets, from servers on this machine. Every connect(2) is watched."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

import pytest

from transcriber.domain.errors import (
    InvalidParameterError,
    TranscriberError,
    UploadTooLargeError,
    UrlNotAllowedError,
    UrlRedirectsError,
    UrlRefusedError,
    UrlTimeoutError,
    UrlTypeError,
    UrlUnreachableError,
)
from transcriber.sources.http_fetcher import HttpFetcher
from transcriber.webhooks.guard import Guard, Resolve, system_addresses
from webhook_addresses import FORBIDDEN_ADDRESSES, ODD_HOSTS, url_of
from webhook_receiver import ConnectionWatch, receiving

LOOPBACK = ["127.0.0.0/8"]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def connections() -> ConnectionWatch:
    return ConnectionWatch()


@pytest.fixture
def attempts(connections: ConnectionWatch) -> Iterator[list[tuple[str, int]]]:
    with connections.watching() as attempts:
        yield attempts


def fetcher_for(
    allow: Sequence[str] = (),
    *,
    max_bytes: int = MIB,
    timeout: float = 20.0,
    step: float = 10.0,
    resolve: Resolve = system_addresses,
) -> HttpFetcher:
    return HttpFetcher(
        Guard(allow, resolve=resolve), version="0", max_bytes=max_bytes, timeout=timeout, step=step
    )


def fetched(fetcher: HttpFetcher, url: str) -> bytes:
    received = bytearray()
    fetcher.fetch(url, received.extend, lambda done, total: None)
    return bytes(received)


def answer(body: bytes, *headers: str, status: int = 200, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {size}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(to: str) -> bytes:
    return answer(b"", f"Location: {to}", status=302)


def test_file_comes_whole_with_its_progress() -> None:
    body = bytes(range(256)) * 1000
    shown: list[tuple[int, int | None]] = []
    received = bytearray()
    with receiving(answer(body, "Content-Type: audio/mpeg")) as server:
        fetcher_for(LOOPBACK).fetch(server.url, received.extend, lambda *now: shown.append(now))
        (request,) = server.received

    assert bytes(received) == body and shown[-1] == (len(body), len(body))
    assert request.line == "GET /hook?from=test HTTP/1.1"
    assert request.headers["Accept-Encoding"] == "identity"


def test_chunked_answer_without_a_length_is_taken() -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\n3\r\nabc\r\n0\r\n\r\n"
    with receiving(body) as server:
        assert fetched(fetcher_for(LOOPBACK), server.url) == b"RIFFabc"


@pytest.mark.parametrize("host", [*FORBIDDEN_ADDRESSES, *ODD_HOSTS])
def test_host_that_is_not_on_the_internet_is_refused_before_any_connection(
    host: str, attempts: list[tuple[str, int]]
) -> None:
    fetcher = fetcher_for()

    with pytest.raises((UrlNotAllowedError, InvalidParameterError)) as caught:
        fetcher.check(url_of(host))
    with pytest.raises(TranscriberError):
        fetched(fetcher, url_of(host))

    assert caught.value.param == "url" and caught.value.fix
    assert attempts == []


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_name_that_leads_inside_is_refused_when_it_is_fetched(
    address: str, attempts: list[tuple[str, int]]
) -> None:
    fetcher = fetcher_for(resolve=lambda name, port: [address])
    fetcher.check("https://media.example/a.mp3")

    with pytest.raises(UrlNotAllowedError):
        fetched(fetcher, "https://media.example/a.mp3")

    assert attempts == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "2130706433", "0x7f.1"]
)
def test_redirect_that_leads_inside_is_refused(host: str, attempts: list[tuple[str, int]]) -> None:
    with (
        receiving(redirect(f"http://{host}/secret")) as server,
        pytest.raises((UrlNotAllowedError, UrlRedirectsError)),
    ):
        fetched(fetcher_for(["127.0.0.0/8"]), server.url)

    assert {address for address, _ in attempts} == {"127.0.0.1"} and len(attempts) == 1


def test_name_is_resolved_once_and_the_answer_is_what_is_connected_to(
    attempts: list[tuple[str, int]],
) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with receiving(answer(b"x")) as server:
        fetcher = fetcher_for(LOOPBACK, resolve=lambda name, port: next(answers))
        assert fetched(fetcher, f"http://media.example:{server.port}/a.mp3") == b"x"
        assert server.received[0].headers["Host"] == f"media.example:{server.port}"

    assert attempts == [("127.0.0.1", server.port)]


def test_redirects_are_followed_up_to_the_limit() -> None:
    with receiving(redirect("/one"), redirect("two?x=1"), answer(b"found")) as server:
        assert fetched(fetcher_for(LOOPBACK), server.url) == b"found"
        assert [each.line.split()[1] for each in server.received] == ["/hook?from=test", "/one", "/two?x=1"]


def test_redirect_loop_ends() -> None:
    with receiving(redirect("/hook")) as server, pytest.raises(UrlRedirectsError):
        fetched(fetcher_for(LOOPBACK), server.url)

    assert len(server.received) == 6


@pytest.mark.parametrize(
    "to", ["", "file:///etc/passwd", "ftp://127.0.0.1/a", "http://user:x@127.0.0.1/", "http://[::1"]
)
def test_redirect_to_something_else_is_refused(to: str) -> None:
    with receiving(redirect(to)) as server, pytest.raises(UrlRedirectsError):
        fetched(fetcher_for(LOOPBACK), server.url)


@pytest.mark.parametrize(
    ("status", "error"), [(404, UrlRefusedError), (401, UrlRefusedError), (503, UrlUnreachableError)]
)
def test_answer_without_a_file_says_its_status(status: int, error: type[TranscriberError]) -> None:
    with receiving(answer(b"no", status=status)) as server, pytest.raises(error) as caught:
        fetched(fetcher_for(LOOPBACK), server.url)

    assert str(status) in caught.value.message


@pytest.mark.parametrize(
    "kind", ["text/html; charset=utf-8", "application/json", "application/x-mpegURL", "image/png"]
)
def test_wrong_type_is_refused_before_its_body(kind: str) -> None:
    with receiving(answer(b"<html>", f"Content-Type: {kind}")) as server, pytest.raises(UrlTypeError):
        fetched(fetcher_for(LOOPBACK), server.url)


def test_length_over_the_limit_is_refused_before_a_byte_is_taken() -> None:
    received = bytearray()
    with receiving(answer(b"x" * 100, length=1024**3)) as server, pytest.raises(UploadTooLargeError):
        fetcher_for(LOOPBACK).fetch(server.url, received.extend, lambda *_: None)

    assert received == b""


def test_endless_body_ends_at_the_limit() -> None:
    def pour(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    received = bytearray()
    with receiving() as server, pytest.raises(UploadTooLargeError):
        server.answer = pour
        fetcher_for(LOOPBACK).fetch(server.url, received.extend, lambda *_: None)

    assert len(received) <= MIB


def test_body_that_drips_for_ever_ends_at_the_time_limit() -> None:
    def drip(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with receiving() as server, pytest.raises(UrlTimeoutError):
        server.answer = drip
        fetched(fetcher_for(LOOPBACK, timeout=1.0), server.url)


def test_head_that_drips_for_ever_ends_at_its_own_limit() -> None:
    def drip(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with receiving() as server, pytest.raises(UrlTimeoutError):
        server.answer = drip
        fetched(fetcher_for(LOOPBACK, timeout=60.0, step=0.5), server.url)


def test_silent_server_ends_at_the_step_limit() -> None:
    def wait(connection: socket.socket, head: bytes) -> None:
        connection.settimeout(20)
        connection.recv(1)

    with receiving() as server, pytest.raises(UrlTimeoutError):
        server.answer = wait
        fetched(fetcher_for(LOOPBACK, step=0.3), server.url)


def test_connection_that_breaks_in_the_middle_is_unreachable() -> None:
    with receiving(answer(b"half", length=1000)) as server, pytest.raises(UrlUnreachableError):
        fetched(fetcher_for(LOOPBACK), server.url)


def test_nobody_listening_is_unreachable() -> None:
    with receiving() as server:
        gone = server.url
    with pytest.raises(UrlUnreachableError):
        fetched(fetcher_for(LOOPBACK), gone)


def test_unknown_name_is_unreachable() -> None:
    def unknown(name: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(UrlUnreachableError):
        fetched(fetcher_for(resolve=unknown), "https://media.example/a.mp3")


def test_progress_can_stop_the_fetching() -> None:
    def stop(done: int, total: int | None) -> None:
        raise InterruptedError

    with receiving(answer(b"x" * 100_000)) as server, pytest.raises((InterruptedError, TranscriberError)):
        fetcher_for(LOOPBACK).fetch(server.url, lambda piece: None, stop)
