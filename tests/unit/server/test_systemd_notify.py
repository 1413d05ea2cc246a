"""READY=1: when it is sent, and how a service is reached that listens on all interfaces."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from transcriber.server.systemd_notify import is_answered, notify, reachable, take_notify_socket


def test_notify_socket_is_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "OTHER": "1"}

    assert take_notify_socket(environ) == "/run/notify"
    assert environ == {"OTHER": "1"}
    assert take_notify_socket(environ) is None


@pytest.mark.parametrize(
    ("bound", "family", "target"),
    [
        (("127.0.0.1", 80), socket.AF_INET, ("127.0.0.1", 80)),
        (("0.0.0.0", 80), socket.AF_INET, ("127.0.0.1", 80)),
        (("::", 80, 0, 0), socket.AF_INET6, ("::1", 80, 0, 0)),
        ("/run/web", socket.AF_UNIX, "/run/web"),
    ],
)
def test_where_a_service_is_reached(bound: object, family: object, target: object) -> None:
    assert reachable(bound) == (family, target)  # type: ignore[arg-type]


def answer_one(listener: socket.socket, answer: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(("answer", "expected"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"", False)])
def test_only_an_answer_counts_and_no_connection(answer: bytes, expected: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = answer_one(listener, answer)
        assert is_answered(listener.getsockname()) is expected
        thread.join()


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_hears_it(tmp_path: Path, is_abstract: bool) -> None:
    name = f"@transcriber-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name[1:]}" if is_abstract else name)
        systemd.settimeout(5)
        notify(name, "READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_systemd_that_is_not_there_does_not_end_the_service(tmp_path: Path) -> None:
    notify(str(tmp_path / "nobody"), "READY=1")
