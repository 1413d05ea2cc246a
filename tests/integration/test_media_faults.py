"""Death, delay and lies: of the decode server, of its children, of the parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_files import JFK, make_silent_flac
from transcriber.domain.errors import (
    DecoderCrashedError,
    DecoderUnavailableError,
    DecodeTimeoutError,
    JobCancelledError,
    ShuttingDownError,
)
from transcriber.media.decoder import SandboxedDecoder
from transcriber.media.messages import parse_message
from transcriber.media.server_process import start_server

ROOT = Path(__file__).resolve().parents[2]
JFK_SAMPLES = 176_000


@pytest.fixture(scope="module")
def slow_upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes seconds to decode."""
    path = tmp_path_factory.mktemp("slow") / "upload"
    path.write_bytes(make_silent_flac(3, rate=192_000))
    return path


@pytest.fixture
def decoder() -> Iterator[SandboxedDecoder]:
    decoder = SandboxedDecoder(max_audio_seconds=36_000, timeout_seconds=60)
    decoder.start()
    yield decoder
    decoder.close()


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class DuringDecoding:
    """A progress callback that acts once, on the child that is at work, and remembers its process id."""

    def __init__(self, decoder: SandboxedDecoder, act: Callable[[int, int], None]) -> None:
        self._decoder = decoder
        self._act = act
        self.child = 0

    def __call__(self, samples: int) -> None:
        if not self.child:
            server, self.child = self._decoder.pids()
            self._act(server, self.child)


def assert_next_upload_works(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    assert decoder.decode(JFK, tmp_path / "next", job_id="next").samples == JFK_SAMPLES


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_child_is_a_clear_error_and_the_next_upload_works(
    number: int, decoder: SandboxedDecoder, slow_upload: Path, tmp_path: Path
) -> None:
    server = decoder.pids()[0]
    killing = DuringDecoding(decoder, lambda _, child: os.kill(child, number))

    with pytest.raises(DecoderCrashedError):
        decoder.decode(slow_upload, tmp_path / "pcm", job_id="a", progress=killing)

    assert not (tmp_path / "pcm").exists()
    assert decoder.pids() == (server,)
    assert_next_upload_works(decoder, tmp_path)


def test_killed_server_takes_its_child_along_and_is_replaced(
    decoder: SandboxedDecoder, slow_upload: Path, tmp_path: Path
) -> None:
    server = decoder.pids()[0]
    killing = DuringDecoding(decoder, lambda server, _: os.kill(server, signal.SIGKILL))

    with pytest.raises(DecoderCrashedError):
        decoder.decode(slow_upload, tmp_path / "pcm", job_id="a", progress=killing)

    wait_until(lambda: is_gone(killing.child))
    assert_next_upload_works(decoder, tmp_path)
    assert decoder.pids()[0] != server


def test_server_that_died_idle_is_not_the_files_fault(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    server = decoder.pids()[0]
    os.kill(server, signal.SIGKILL)

    assert_next_upload_works(decoder, tmp_path)
    assert decoder.pids()[0] != server


def test_cancelled_job_ends_its_child_at_once(
    decoder: SandboxedDecoder, slow_upload: Path, tmp_path: Path
) -> None:
    working = DuringDecoding(decoder, lambda server, child: None)
    started = time.monotonic()

    with pytest.raises(JobCancelledError):
        decoder.decode(
            slow_upload, tmp_path / "pcm", job_id="a", progress=working, cancelled=lambda: working.child != 0
        )

    assert is_gone(working.child)
    assert time.monotonic() - started < 5
    assert not (tmp_path / "pcm").exists()
    assert_next_upload_works(decoder, tmp_path)


def test_decoding_that_takes_too_long_is_given_up(slow_upload: Path, tmp_path: Path) -> None:
    decoder = SandboxedDecoder(max_audio_seconds=36_000, timeout_seconds=1)

    with pytest.raises(DecodeTimeoutError):
        decoder.decode(slow_upload, tmp_path / "pcm", job_id="a")

    assert len(decoder.pids()) == 1
    decoder.close()


def test_stopped_child_is_given_up(slow_upload: Path, tmp_path: Path) -> None:
    decoder = SandboxedDecoder(max_audio_seconds=36_000, timeout_seconds=1)
    stopping = DuringDecoding(decoder, lambda _, child: os.kill(child, signal.SIGSTOP))

    with pytest.raises(DecodeTimeoutError):
        decoder.decode(slow_upload, tmp_path / "pcm", job_id="a", progress=stopping)

    assert is_gone(stopping.child)
    decoder.close()


def test_stopped_server_is_replaced(decoder: SandboxedDecoder, slow_upload: Path, tmp_path: Path) -> None:
    stopping = DuringDecoding(decoder, lambda server, _: os.kill(server, signal.SIGSTOP))

    with pytest.raises(JobCancelledError):
        decoder.decode(
            slow_upload,
            tmp_path / "pcm",
            job_id="a",
            progress=stopping,
            cancelled=lambda: stopping.child != 0,
        )

    wait_until(lambda: is_gone(stopping.child))
    assert_next_upload_works(decoder, tmp_path)


def test_failure_of_the_callers_own_code_ends_the_child(
    decoder: SandboxedDecoder, slow_upload: Path, tmp_path: Path
) -> None:
    def fail(server: int, child: int) -> None:
        raise LookupError("of the caller")

    failing = DuringDecoding(decoder, fail)

    with pytest.raises(LookupError):
        decoder.decode(slow_upload, tmp_path / "pcm", job_id="a", progress=failing)

    wait_until(lambda: is_gone(failing.child))
    assert_next_upload_works(decoder, tmp_path)


def test_closing_ends_running_jobs_and_takes_no_more(
    decoder: SandboxedDecoder, slow_upload: Path, tmp_path: Path
) -> None:
    working = DuringDecoding(decoder, lambda server, child: threading.Thread(target=decoder.close).start())

    with pytest.raises(ShuttingDownError):
        decoder.decode(slow_upload, tmp_path / "pcm", job_id="a", progress=working)
    with pytest.raises(ShuttingDownError):
        decoder.decode(JFK, tmp_path / "pcm", job_id="b")

    wait_until(lambda: is_gone(working.child))
    assert decoder.pids() == ()


PARENT = """
import os, sys
from pathlib import Path
from transcriber.media.decoder import SandboxedDecoder

decoder = SandboxedDecoder(max_audio_seconds=36000, timeout_seconds=60)
def tell(samples):
    os.write(1, (" ".join(map(str, decoder.pids())) + "\\n").encode())
decoder.decode(Path(sys.argv[1]), Path(sys.argv[2]), job_id="a", progress=tell)
"""


def test_no_child_outlives_a_parent_killed_with_sigkill(slow_upload: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(slow_upload), str(tmp_path / "pcm")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "flask-app")},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline()  # structlog's own line comes first
        while "decode_server" in line:
            line = parent.stdout.readline()
        server, child = map(int, line.split())
        assert not is_gone(server) and not is_gone(child)

        parent.kill()

    wait_until(lambda: is_gone(server) and is_gone(child), 10)


def test_terminals_interrupt_does_not_end_the_server(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    server = decoder.pids()[0]
    os.kill(server, signal.SIGINT)
    os.kill(server, signal.SIGTERM)

    assert_next_upload_works(decoder, tmp_path)
    assert decoder.pids() == (server,)


def test_full_disk_is_reported_by_the_child(tmp_path: Path) -> None:
    server = start_server(sys.executable)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = {
        "type": "decode",
        "job_id": "a",
        "max_samples": 10**6,
        "max_bytes": 2 * 10**6,
        "timeout_seconds": 10,
        "selection": {"channels": "mix", "audio_track": None},
    }
    with JFK.open("rb") as upload, open("/dev/full", "wb") as full, ours:
        server.send(request, (upload.fileno(), full.fileno(), theirs.fileno()))
        theirs.close()
        ours.settimeout(20)
        messages = [parse_message(data) for data in iter(lambda: ours.recv(4096), b"")]
    server.end()

    assert {"type": "error", "reason": "storage_full"} in messages
    assert messages[-1] == {"type": "exited", "returncode": 0}


def test_secrets_of_the_environment_do_not_reach_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WHISPER_API_KEY", "hush")
    decoder = SandboxedDecoder(max_audio_seconds=10, timeout_seconds=10)
    decoder.start()

    environment = Path(f"/proc/{decoder.pids()[0]}/environ").read_bytes()
    decoder.close()

    assert b"hush" not in environment
    assert b"PYTHONPATH=" in environment


STAND_IN = """#!{python}
import json, os, socket, sys, time
control = socket.socket(fileno=int(sys.argv[-1]))
sandbox = dict(seccomp=True, problem={problem!r}, machine="x", headroom_bytes=1)
control.send(json.dumps(dict(type="ready", pid=os.getpid(), sandbox=sandbox)).encode())
data, descriptors, *_ = socket.recv_fds(control, 4096, 3)
report = socket.socket(fileno=descriptors[2])
report.send({answer!r})
for fd in descriptors[:2]:
    os.close(fd)
if {hold!r}:
    control.recv(4096)
"""


def stand_in(folder: Path, answer: bytes = b"", problem: str = "", hold: bool = False) -> str:
    """A program in place of Python that plays a decode server taken over by an attacker."""
    path = folder / "stand-in"
    path.write_text(STAND_IN.format(python=sys.executable, answer=answer, problem=problem, hold=hold))
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b"[]",
        b'{"type":"done"}',
        b'{"type":"done","samples":1000000000}',
        b'{"type":"done","samples":5,"container":"wav","codec":"x","channels":1,"sample_rate":1,"notices":[]}',
        b'{"type":"error","reason":"<script>"}',
        b'{"type":"exited","returncode":"zero"}',
    ],
)
def test_lying_child_is_a_crashed_decoder(answer: bytes, tmp_path: Path) -> None:
    decoder = SandboxedDecoder(max_audio_seconds=10, timeout_seconds=10, python=stand_in(tmp_path, answer))

    with pytest.raises(DecoderCrashedError):
        decoder.decode(JFK, tmp_path / "pcm", job_id="a")

    assert not (tmp_path / "pcm").exists()
    decoder.close()


@pytest.mark.parametrize(
    ("answer", "error"), [(b"not json", DecoderCrashedError), (b'{"type":"done"}', DecodeTimeoutError)]
)
def test_lying_child_that_stays_is_ended(answer: bytes, error: type[Exception], tmp_path: Path) -> None:
    decoder = SandboxedDecoder(
        max_audio_seconds=10, timeout_seconds=1, python=stand_in(tmp_path, answer, hold=True)
    )

    with pytest.raises(error):
        decoder.decode(JFK, tmp_path / "pcm", job_id="a")

    decoder.close()


def test_nothing_is_decoded_where_the_sandbox_does_not_hold(tmp_path: Path) -> None:
    python = stand_in(tmp_path, problem="a child could open a file")
    decoder = SandboxedDecoder(max_audio_seconds=10, timeout_seconds=10, python=python)

    with pytest.raises(DecoderUnavailableError, match="could open a file"):
        decoder.decode(JFK, tmp_path / "pcm", job_id="a")

    status = decoder.sandbox_status()
    decoder.close()
    assert status is not None and status.problem == "a child could open a file"


@pytest.mark.parametrize("program", ["/bin/false", "/does/not/exist"])
def test_server_that_does_not_start_is_told(program: str, tmp_path: Path) -> None:
    decoder = SandboxedDecoder(max_audio_seconds=10, timeout_seconds=10, python=program)

    with pytest.raises(DecoderUnavailableError):
        decoder.decode(JFK, tmp_path / "pcm", job_id="a")

    assert decoder.pids() == ()


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, time
from pathlib import Path
import gevent
from transcriber.media.decoder import SandboxedDecoder

decoder = SandboxedDecoder(max_audio_seconds=36000, timeout_seconds=60)
jfk, slow, folder = map(Path, sys.argv[1:4])
longest = 0.0
def tick():
    global longest
    while True:
        before = time.monotonic()
        gevent.sleep(0.01)
        longest = max(longest, time.monotonic() - before)
gevent.spawn(tick)
jobs = [gevent.spawn(decoder.decode, jfk, folder / f"pcm{n}", job_id=str(n)) for n in range(10)]
stopped = gevent.spawn(decoder.decode, slow, folder / "slow", job_id="slow", cancelled=lambda: all(j.ready() for j in jobs))
gevent.joinall(jobs, timeout=60, raise_error=True)
stopped.join(20)
assert type(stopped.exception).__name__ == "JobCancelledError", stopped.exception
assert {job.value.samples for job in jobs} == {176000}, jobs
decoder.close()
print("longest", longest, file=sys.stderr)
assert longest < 1.0, longest
"""


def test_ten_greenlets_decode_at_once_and_the_hub_goes_on(slow_upload: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS, str(JFK), str(slow_upload), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "flask-app")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "longest" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
