"""/health/ready means that a file sent now would be transcribed: each stage is taken away from a real server in turn."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breakable_python import BreakablePython
from disk_faults import DATA, FOR_EVER, Fault, PreloadedDisk
from server import ROOT, Answer, Server

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"

#: What a stage that fails must show within, by the settings as shipped, and what these tests use to be quick.
LIMIT_SECONDS, INTERVAL = 60.0, "1"

#: pid, uid, gid of who sent a message.
CREDENTIALS = struct.Struct("iII")


class Checked(Server):
    """A server on a stand-in engine, whose stages a test takes away."""

    words: Path
    breakable: BreakablePython
    disk: PreloadedDisk

    def facts(self) -> dict[str, Any]:
        page: dict[str, Any] = self.get("/diagnostics", headers={"Accept": "application/json"}).json
        return page

    def decode_server(self) -> int:
        return next(pid for pid, line in self.children().items() if "transcriber.media.child.server" in line)

    def metric(self, stage: str) -> str:
        line = f'transcriber_pipeline_stage_passed{{stage="{stage}"}} '
        return next(row for row in self.get("/metrics").text.splitlines() if row.startswith(line))[
            len(line) :
        ]


def make_server(folder: Path, models: Path, **env: str) -> Checked:
    disk = PreloadedDisk(folder, folder / "data")
    breakable = BreakablePython(folder / "python")
    settings = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_GPU_POLICY": "off",
        "WHISPER_PIPELINE_CHECK_SECONDS": INTERVAL,
        "WHISPER_ENGINE_COMMAND": f"{STAND_IN} --pipeline-file {folder / 'words'}",
    }
    server = Checked(folder / "data", env=settings | disk.env | env, python=breakable.executable)
    server.words, server.breakable, server.disk = folder / "words", breakable, disk
    return server


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    server = make_server(tmp_path_factory.mktemp("pipeline"), models)
    with server:
        server.wait_for("/health/ready")
        yield server


def assert_fails_at(server: Checked, stage: str, cause: str) -> None:
    """Not ready within the limit, by the name of the stage, and everything else says the same."""
    begun = time.monotonic()
    ready = server.wait_for("/health/ready", LIMIT_SECONDS, status=503).json
    while ready["status"] == "starting":
        assert time.monotonic() - begun < LIMIT_SECONDS
        time.sleep(0.05)
        ready = server.get("/health/ready").json
    assert (ready["status"], ready["stage"]) == ("failed", stage)
    assert cause in ready["error"]["message"]
    assert ready["error"]["fix"]
    assert server.metric(stage) == "0.0"
    facts = server.facts()
    assert facts["status"] == "failed"
    assert facts["verdict"].startswith("This server takes no work: ")
    assert ready["error"]["code"] in [problem["code"] for problem in facts["problems"]]
    found = next(each for each in facts["pipeline"] if each["name"] == stage)
    assert (found["outcome"], found["message"]) == ("failed", ready["error"]["message"])
    page = server.get("/diagnostics", headers={"Accept": "text/html"}).text
    assert "Pipeline check" in page and "failed" in page


def assert_recovers(server: Checked) -> None:
    server.wait_for("/health/ready", LIMIT_SECONDS)
    assert {each["outcome"] for each in server.facts()["pipeline"]} == {"passed"}


@pytest.mark.parametrize(
    ("word", "stage", "cause"),
    [
        ("garbage", "words", "its transcript 'window 0'"),
        ("no-speech", "vad", "no speech"),
        ("vad", "vad", "Told to fail."),
        ("fail", "engine", "Told to fail."),
        ("die", "engine", "died"),
    ],
)
def test_engine_that_fails_at_a_stage(server: Checked, word: str, stage: str, cause: str) -> None:
    server.words.write_text(word)
    try:
        assert_fails_at(server, stage, cause)
    finally:
        server.words.unlink()
    assert_recovers(server)


def test_pyav_that_can_not_be_imported_any_more_once_the_decode_server_is_gone(server: Checked) -> None:
    server.breakable.take_pyav_away()
    try:
        os.kill(server.decode_server(), signal.SIGKILL)
        assert_fails_at(server, "decode", "PyAV was taken away")
    finally:
        server.breakable.put_pyav_back()
    assert_recovers(server)


def test_decode_server_that_refuses_every_file(server: Checked) -> None:
    server.breakable.make_pyav_refuse()
    try:
        os.kill(server.decode_server(), signal.SIGKILL)
        assert_fails_at(server, "decode", "does not decode a clip that is in order")
    finally:
        server.breakable.put_pyav_back()
    assert_recovers(server)


def test_decode_server_that_is_killed_is_started_anew_and_costs_no_readiness(server: Checked) -> None:
    killed = server.decode_server()
    os.kill(killed, signal.SIGKILL)

    deadline = time.monotonic() + 20
    while killed in server.children() or not any(
        "transcriber.media.child.server" in line for line in server.children().values()
    ):
        assert time.monotonic() < deadline
        assert server.get("/health/ready").status == 200
        time.sleep(0.05)
    assert server.get("/health/ready").status == 200


def test_full_disk(server: Checked) -> None:
    server.disk.arm(Fault(DATA, errno.ENOSPC, 1, FOR_EVER))
    try:
        assert_fails_at(server, "storage", "fails: ")
    finally:
        server.disk.disarm()
    assert_recovers(server)


def test_spool_that_is_gone(server: Checked) -> None:
    spool = server.data_dir / "spool"
    spool.rename(server.data_dir / "elsewhere")
    try:
        assert_fails_at(server, "storage", "The data folder can't be used")
    finally:
        (server.data_dir / "elsewhere").rename(spool)
    assert_recovers(server)


def test_decoder_that_refuses_every_file_is_seen_at_the_start(models: Path, tmp_path: Path) -> None:
    server = make_server(tmp_path, models)
    server.breakable.make_pyav_refuse()
    with server:
        assert_fails_at(server, "decode", "does not decode a clip that is in order")
        server.breakable.put_pyav_back()
        assert_recovers(server)


def test_lazy_engine_is_not_woken_and_nothing_has_failed_yet(models: Path, tmp_path: Path) -> None:
    server = make_server(tmp_path, models, WHISPER_ENGINE_START="lazy")
    with server:
        server.wait_for("/health/ready")
        facts = server.facts()
        deadline = time.monotonic() + 20
        while facts["pipeline"][1]["outcome"] != "passed":
            assert time.monotonic() < deadline
            time.sleep(0.05)
            facts = server.facts()
        assert [each["outcome"] for each in facts["pipeline"]] == ["passed", "passed"] + 3 * ["unknown"]
        assert facts["engines"] == []
        assert server.get("/health/ready").status == 200

        server.words.write_text("garbage")
        assert server.transcribe(ROOT / "tests" / "data" / "jfk.flac").status == 200
        assert_fails_at(server, "words", "its transcript 'window 0'")
        server.words.unlink()
        assert_recovers(server)


def test_doctor_names_a_decoder_that_does_not_decode(models: Path, tmp_path: Path) -> None:
    breakable = BreakablePython(tmp_path / "python")
    breakable.take_pyav_away()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WHISPER_")}
    settings = {"WHISPER_MODEL_PATH": str(models), "WHISPER_DATA_DIR": str(tmp_path / "data")}

    done = subprocess.run(
        [breakable.executable, "-m", "transcriber", "doctor"],
        cwd=ROOT / "flask-app",
        env=inherited | settings | {"WHISPER_GPU_POLICY": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "the stage 'decode' fails: " in done.stdout
    assert "PyAV was taken away" in done.stdout
    assert "decode: failed" in done.stdout


class Notified(Checked):
    """Its start waits for READY=1 instead of asking, so the test's request is the first of all."""

    systemd: socket.socket
    state: bytes
    sender: int

    def wait_for(self, path: str, timeout: float = 60.0, status: int = 200) -> Answer:
        self.systemd.settimeout(timeout)
        self.state, controls, _, _ = self.systemd.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        self.sender = CREDENTIALS.unpack(controls[0][2])[0]
        return Answer(200, {}, b"")


def test_ready_is_told_to_systemd_once_a_request_is_answered(models: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        env = {"WHISPER_MODEL_PATH": str(models), "NOTIFY_SOCKET": str(tmp_path / "notify")}
        server = Notified(tmp_path / "data", env=env | {"WHISPER_ENGINE_COMMAND": STAND_IN})
        server.systemd = systemd
        with server:
            for _ in range(50):
                assert server.get("/health/live").status == 200
            assert server.state.splitlines()[0] == b"READY=1"
            assert server.sender == server.pid, "systemd hears the main process alone"
