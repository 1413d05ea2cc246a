"""Webhooks over real sockets, with receivers on this machine. Every connect(2) is watched."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook as PublicVerifier

from job_stores import make_delivery, make_job
from transcriber.domain.jobs import Delivery, DeliveryStatus, JobStatus, Webhook
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriber.system.clock import SystemClock
from transcriber.webhooks import payload
from transcriber.webhooks.addresses import Address
from transcriber.webhooks.dispatcher import Dispatcher
from transcriber.webhooks.guard import Guard, Resolve, system_addresses
from transcriber.webhooks.ids import new_delivery_id
from transcriber.webhooks.sender import HttpSender, connect_to
from transcriber.webhooks.tries import TryResult
from transcriptions import make_transcription
from webhook_addresses import FORBIDDEN_ADDRESSES, ODD_HOSTS, url_of
from webhook_receiver import ConnectionWatch, receiving, reply

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PUBLIC = "93.184.215.14"
LOOPBACK = ["127.0.0.0/8"]
NOT_ALLOWED = TryResult(error="webhook_address_not_allowed")
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def connections() -> ConnectionWatch:
    return ConnectionWatch()


@pytest.fixture
def attempts(connections: ConnectionWatch) -> Iterator[list[tuple[str, int]]]:
    with connections.watching() as attempts:
        yield attempts


def sender_for(
    allow: Sequence[str] = (), *, timeout: float = 10.0, resolve: Resolve = system_addresses
) -> HttpSender:
    return HttpSender(Guard(allow, resolve=resolve), version="0", timeout=timeout)


def send(sender: HttpSender, url: str) -> TryResult:
    return sender.send(make_delivery(url=url, secret=SECRET), datetime.now(UTC))


@contextmanager
def opened_store(path: Path) -> Iterator[SqliteJobStore]:
    with ThreadPoolExecutor(1) as executor:
        store = SqliteJobStore(path, executor)
        try:
            yield store
        finally:
            store.close()


def finish_job(store: SqliteJobStore, url: str, number: int = 0) -> str:
    """A job that ends with a message to this receiver; its id."""
    now = datetime.now(UTC)
    job = store.add(make_job(number).evolve(webhook=Webhook(url=url, secret=SECRET), created_at=now))
    claimed = store.claim(job.id, now)
    assert claimed is not None
    ended = claimed.evolve(status=JobStatus.SUCCEEDED, completed_at=now)
    delivery = payload.make_delivery(ended, make_transcription(job_id=job.id), now, new_delivery_id)
    assert store.finish(job.id, claimed.attempts, JobStatus.SUCCEEDED, now, delivery=delivery)
    return job.id


def delivery_of(store: SqliteJobStore, job_id: str) -> Delivery:
    (delivery,) = store.outbox.of_job(job_id)
    return delivery


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dispatcher_for(store: SqliteJobStore) -> Dispatcher:
    """Real in all but the length of its waits."""
    return Dispatcher(
        store.outbox, sender_for(LOOPBACK), SystemClock(), random.Random(1), delays=(0.02,) * 35
    )


def test_receiver_that_fails_five_times_is_delivered_to_once_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    with receiving(*[reply(500)] * 5, reply(200)) as receiver:
        with opened_store(path) as store:
            job_id = finish_job(store, receiver.url)
            dispatcher = dispatcher_for(store)
            dispatcher.start()
            receiver.wait_for(2)
            dispatcher.close(5)
            assert delivery_of(store, job_id).status is DeliveryStatus.PENDING
        with opened_store(path) as store:
            dispatcher = dispatcher_for(store)
            dispatcher.start()
            eventually(lambda: delivery_of(store, job_id).status is DeliveryStatus.DELIVERED)
            dispatcher.wake()
            dispatcher.close(5)
            delivery = delivery_of(store, job_id)

    assert (delivery.tries, delivery.last_status, delivery.last_error) == (6, 200, None)
    assert len(receiver.received) == 6
    assert {one.headers["webhook-id"] for one in receiver.received} == {delivery.id}
    for one in receiver.received:
        message = PublicVerifier(SECRET).verify(one.body, one.headers)
        assert (message["type"], message["data"]["job_id"]) == ("job.succeeded", job_id)


@pytest.mark.parametrize("mode", ["plain", "gevent"])
def test_try_that_sigkill_cuts_is_made_again_under_the_same_id(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "jobs.sqlite3"
    with receiving(reply(200)) as receiver:
        receiver.answer = lambda connection, data: time.sleep(30)
        with opened_store(path) as store:
            job_id = finish_job(store, receiver.url)
        process = start_program(path, mode)
        try:
            receiver.wait_for(1)
        finally:
            process.kill()
            process.communicate()
        receiver.answer = lambda connection, data: connection.sendall(data)
        with opened_store(path) as store:
            assert delivery_of(store, job_id).tries == 0
            dispatcher = dispatcher_for(store)
            dispatcher.start()
            eventually(lambda: delivery_of(store, job_id).status is DeliveryStatus.DELIVERED)
            dispatcher.close(5)

    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_under_gevent_a_slow_receiver_blocks_nothing(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    path = tmp_path / "jobs.sqlite3"

    def answer_slowly(connection: socket.socket, data: bytes) -> None:
        time.sleep(1)
        connection.sendall(data)

    tls = server_context(certificate)
    with receiving(reply(200)) as slow, receiving(reply(200), tls=tls) as quick:
        slow.answer = answer_slowly
        with opened_store(path) as store:
            jobs = [
                finish_job(store, slow.url, 1),
                finish_job(store, f"https://localhost:{quick.port}/", 2),
            ]
        process = start_program(path, "gevent", SSL_CERT_FILE=str(certificate[0]))
        slow.wait_for(1)
        quick.wait_for(1)
        output, _ = process.communicate()
        with opened_store(path) as store:
            assert [delivery_of(store, job).status for job in jobs] == [DeliveryStatus.DELIVERED] * 2

    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["gap"] < 0.5
    for receiver in (slow, quick):
        PublicVerifier(SECRET).verify(receiver.received[0].body, receiver.received[0].headers)


def start_program(path: Path, mode: str, **more: str) -> subprocess.Popen[bytes]:
    environ = os.environ | {"PYTHONPATH": f"{TESTS.parent / 'flask-app'}"} | more
    return subprocess.Popen(
        [sys.executable, str(TESTS / "support" / "webhook_program.py"), str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
    )


def test_watch_sees_a_connection_that_is_allowed(attempts: list[tuple[str, int]]) -> None:
    with receiving() as receiver:
        result = send(sender_for(LOOPBACK), receiver.url)

    assert result == TryResult(status=204)
    assert attempts == [("127.0.0.1", receiver.port)]
    (received,) = receiver.received
    assert received.line == "POST /hook?from=test HTTP/1.1"
    assert received.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert received.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("host", [*FORBIDDEN_ADDRESSES, *ODD_HOSTS])
def test_forbidden_host_in_the_url_is_never_connected_to(host: str, attempts: list[tuple[str, int]]) -> None:
    with receiving() as receiver:
        url = url_of(host).replace("/hook", f":{receiver.port}/hook")
        result = send(sender_for(resolve=lambda name, port: ["127.0.0.1"]), url)

    assert result == NOT_ALLOWED
    assert (attempts, receiver.received) == ([], [])


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_name_with_a_forbidden_address_is_never_connected_to(
    address: str, attempts: list[tuple[str, int]]
) -> None:
    with receiving() as receiver:
        sender = sender_for(resolve=lambda name, port: [address])
        result = send(sender, f"http://hooks.example.com:{receiver.port}/")

    assert result == NOT_ALLOWED
    assert (attempts, receiver.received) == ([], [])


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "0x7f000001"])
def test_spelling_that_the_system_reads_as_loopback_is_never_connected_to(
    spelling: str, attempts: list[tuple[str, int]]
) -> None:
    with receiving() as receiver:
        sender = sender_for(resolve=lambda name, port: system_addresses(spelling, port))
        result = send(sender, f"http://hooks.example.com:{receiver.port}/")

    assert result == NOT_ALLOWED
    assert (attempts, receiver.received) == ([], [])


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "http://127.0.0.1:{port}/stolen"),
        (302, "http://localhost:{port}/stolen"),
        (303, "http://169.254.169.254/latest/meta-data/"),
        (307, "http://127.0.0.1:{port}/stolen"),
        (308, "http://[::1]:{port}/stolen"),
        (307, "//127.0.0.1:{port}/stolen"),
        (302, "/stolen"),
        (300, "http://10.0.0.1/"),
        (307, "file:///etc/passwd"),
        (301, "https://hooks.example.com/"),
    ],
)
def test_redirect_is_not_followed(status: int, location: str, attempts: list[tuple[str, int]]) -> None:
    with receiving() as other:
        with receiving(reply(status, f"Location: {location.format(port=other.port)}")) as receiver:
            result = send(sender_for(LOOPBACK), receiver.url)

    assert result == TryResult(status=status)
    assert attempts == [("127.0.0.1", receiver.port)]
    assert (len(receiver.received), other.received) == (1, [])


@pytest.mark.parametrize(
    "later",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["192.168.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fd00:ec2::254"],
        ["64:ff9b::7f00:1"],
        ["0.0.0.0"],
        ["127.0.0.1", "10.0.0.1", "::1"],
    ],
)
def test_name_that_moves_to_a_forbidden_address_reaches_only_the_public_one(
    later: list[str], attempts: list[tuple[str, int]]
) -> None:
    answers = [[PUBLIC], later, [PUBLIC, *later], [*later, PUBLIC]]
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return answers[len(asked) - 1]

    with receiving() as receiver:
        sender = sender_for(resolve=resolve)
        results = [send(sender, f"http://hooks.example.com:{receiver.port}/") for _ in answers]

    # The watch refuses the connections to the public address, so that nothing leaves this machine.
    failed = TryResult(error="connection_failed")
    assert results == [failed, NOT_ALLOWED, failed, failed]
    assert asked == ["hooks.example.com"] * 4
    assert attempts == [(PUBLIC, receiver.port)] * 3
    assert receiver.received == []


def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, attempts: list[tuple[str, int]]
) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        result = send(sender_for(LOOPBACK), receiver.url)

    assert result == TryResult(status=204)
    assert proxy.received == []


def test_second_address_is_tried_when_the_first_takes_no_connection() -> None:
    with receiving() as receiver:
        sender = sender_for(LOOPBACK, resolve=lambda name, port: ["127.0.0.9", "127.0.0.1"])
        result = send(sender, f"http://two.example.com:{receiver.port}/")

    assert result == TryResult(status=204)
    assert receiver.received[0].headers["Host"] == f"two.example.com:{receiver.port}"


def test_nobody_at_the_port_is_a_failed_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert send(sender_for(LOOPBACK), f"http://127.0.0.1:{port}/") == TryResult(error="connection_failed")


def test_name_that_does_not_exist_is_a_failed_try() -> None:
    def resolve(name: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    assert send(sender_for(resolve=resolve), "http://no.example.com/") == TryResult(error="name_not_resolved")


def drip(connection: socket.socket, data: bytes) -> None:
    """A byte now and then, so that no single read waits long."""
    for byte in data + b"X: y\r\n" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(connection: socket.socket, data: bytes) -> None:
    """A status and then a header without end."""
    connection.sendall(data[: data.index(b"\r\n") + 2] + b"X: ")
    for _ in range(200):
        connection.sendall(b"y" * 4096)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (drip, "timed_out"),
        (lambda connection, data: time.sleep(3), "timed_out"),
        (lambda connection, data: connection.sendall(b"220 mail.example.com ESMTP\r\n"), "bad_reply"),
        (lambda connection, data: connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 9000), "bad_reply"),
        (flood, "bad_reply"),
        (lambda connection, data: None, "connection_failed"),
    ],
    ids=["drip", "silence", "not-http", "endless-100", "endless-header", "hangs-up"],
)
def test_receiver_that_misbehaves_costs_a_try_and_no_more_time_than_is_allowed(
    answer: Callable[[socket.socket, bytes], None], error: str
) -> None:
    with receiving(reply(200)) as receiver:
        receiver.answer = answer
        began = time.monotonic()
        result = send(sender_for(LOOPBACK, timeout=1.0), receiver.url)

    assert time.monotonic() - began < 2.5
    assert result == TryResult(error=error)


def test_endless_body_after_its_status_is_cut_and_counts_as_its_status() -> None:
    def answer(connection: socket.socket, data: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2000):
            connection.sendall(b"y" * 4096)

    with receiving() as receiver:
        receiver.answer = answer
        began = time.monotonic()
        result = send(sender_for(LOOPBACK), receiver.url)

    assert result == TryResult(status=200)
    assert time.monotonic() - began < 5


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hooks.example.com and localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=DNS:hooks.example.com,DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def tls_sender(certificate: Path) -> HttpSender:
    """Trusts this certificate, and finds the public address on this machine."""

    def connect(address: Address, port: int, timeout: float) -> socket.socket:
        assert str(address) == PUBLIC
        return connect_to(ipaddress.ip_address("127.0.0.1"), port, timeout)

    return HttpSender(
        Guard(resolve=lambda name, port: [PUBLIC]),
        version="0",
        tls=ssl.create_default_context(cafile=str(certificate)),
        connect=connect,
    )


def test_tls_speaks_for_the_name_and_connects_to_the_checked_address(certificate: tuple[Path, Path]) -> None:
    with receiving(tls=server_context(certificate)) as receiver:
        result = send(tls_sender(certificate[0]), f"https://hooks.example.com:{receiver.port}/")

    assert result == TryResult(status=204)
    assert receiver.server_names == ["hooks.example.com"]
    assert receiver.received[0].headers["Host"] == f"hooks.example.com:{receiver.port}"


@pytest.mark.parametrize("host", ["other.example.com", PUBLIC])
def test_certificate_of_another_name_is_refused(certificate: tuple[Path, Path], host: str) -> None:
    with receiving(tls=server_context(certificate)) as receiver:
        result = send(tls_sender(certificate[0]), f"https://{host}:{receiver.port}/")

    assert result == TryResult(error="tls_failed")
    assert receiver.received == []


def test_receiver_that_never_shakes_hands_is_left_in_time(certificate: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = HttpSender(
            Guard(LOOPBACK),
            version="0",
            timeout=0.5,
            tls=ssl.create_default_context(cafile=str(certificate[0])),
        )
        began = time.monotonic()
        result = send(sender, f"https://127.0.0.1:{listener.getsockname()[1]}/")

    assert result == TryResult(error="timed_out")
    assert time.monotonic() - began < 2
