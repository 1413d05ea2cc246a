"""Noticing on a socket that a waiting client has gone."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from fakes import FakeService
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id
from transcriber.web.client_disconnect import ClientConnection, ClientGoneError, ConnectedClients, wait_for

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's end of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with server, client:
        yield server, client


def presence_on(server: socket.socket) -> ClientConnection:
    return ClientConnection({"gunicorn.socket": server})


def test_waiting_client_is_there(pair: tuple[socket.socket, socket.socket]) -> None:
    assert presence_on(pair[0]).is_gone() is False


def test_closed_connection_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()

    assert presence_on(pair[0]).is_gone() is True


def test_reset_connection_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair[1].close()

    assert presence_on(pair[0]).is_gone() is True


def test_request_that_was_sent_ahead_stays_and_does_not_mean_gone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")

    assert [presence_on(server).is_gone() for _ in range(3)] == [False] * 3
    assert server.recv(100) == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("timeout", [None, 7.5])
def test_socket_keeps_its_timeout(pair: tuple[socket.socket, socket.socket], timeout: float | None) -> None:
    pair[0].settimeout(timeout)

    presence_on(pair[0]).is_gone()

    assert pair[0].gettimeout() == timeout


def test_own_closed_socket_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()

    assert presence_on(pair[0]).is_gone() is True


def test_server_without_a_socket_tells_nothing() -> None:
    assert ClientConnection({}).is_gone() is False


def test_waiting_ends_when_the_client_goes(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    service = FakeService(tmp_path)
    job = service.add_job(new_job_id(), REQUEST)
    pair[1].close()

    with pytest.raises(ClientGoneError):
        wait_for(service, job.id, presence_on(pair[0]))  # type: ignore[arg-type]


def test_waiting_goes_on_while_the_client_is_there(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    service = FakeService(tmp_path)
    job = service.add_job(new_job_id(), REQUEST)
    timer = threading.Timer(0.7, service.finish, (job.id,))
    timer.start()

    answer = wait_for(service, job.id, presence_on(pair[0]))  # type: ignore[arg-type]

    assert answer.job_id == job.id
    timer.join()


def test_store_has_the_last_word_on_a_job_whose_end_nobody_told(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = FakeService(tmp_path)
    job = service.add_job(new_job_id(), REQUEST)
    monkeypatch.setattr("transcriber.web.client_disconnect.LOOK_SECONDS", 0.001)
    ended = service.outcome(job.id)
    untold = [UntoldOutcome(), UntoldOutcome(), ended]
    monkeypatch.setattr(service, "outcome", lambda job_id: untold.pop(0))
    service.finish(job.id)

    assert wait_for(service, job.id, presence_on(pair[0])).job_id == job.id  # type: ignore[arg-type]
    assert not untold


class UntoldOutcome:
    """A future that nobody will tell."""

    def result(self, timeout: float) -> NoReturn:
        raise TimeoutError


def test_last_of_several_waiters() -> None:
    waiters = ConnectedClients()
    with waiters.counted("a"):
        assert waiters.is_last("a")
        with waiters.counted("a"):
            assert not waiters.is_last("a")
        assert waiters.is_last("a")
    assert not waiters._waiting
