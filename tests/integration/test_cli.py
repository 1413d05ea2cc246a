"""python -m transcriber transcribe, against a real server and inside its own process, on real weights."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job_watch import wait_until
from server import ROOT, Server, descendants, free_port
from speech_clips import ENGLISH_CLIPS, JFK
from speech_files import write_speech

pytestmark = pytest.mark.model

KEY = "a key for the tests of the command line"
FindModel = Callable[[str], Path]


@pytest.fixture(scope="module")
def model_env(find_model: FindModel) -> dict[str, str]:
    return {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(find_model("tiny.en").parent)}


@pytest.fixture(scope="module")
def server(model_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cli")
    with Server(folder, env=model_env | {"WHISPER_API_KEY": KEY}) as started:
        started.wait_for("/health/ready")
        yield started


def start(*arguments: object, **env: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WHISPER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "transcriber", "transcribe", *map(str, arguments)],
        env=inherited | {"PYTHONPATH": str(ROOT / "flask-app")} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        # A shell's background jobs ignore SIGINT, and hand that down to what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run(*arguments: object, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
    with start(*arguments, **env) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def facts_in(err: str) -> list[str]:
    """The last lines of the files, without the speed, which is never the same."""
    return [re.sub(r"rtfx=\S+", "", line) for line in err.splitlines() if " gpu_used=" in line]


def stable(answer: str) -> dict[str, object]:
    """An answer without what differs from run to run."""
    data: dict[str, object] = json.loads(answer)
    return {name: data[name] for name in ("text", "segments", "language", "duration", "model", "device")}


def test_server_and_own_process_write_the_same(
    server: Server, model_env: dict[str, str], tmp_path: Path
) -> None:
    files = [clip.path for clip in ENGLISH_CLIPS]
    formats = [word for name in ("txt", "srt", "json", "verbose_json") for word in ("--format", name)]
    options = [*files, *formats, "--word-timestamps", "--no-use-gpu"]

    by_server = run(*options, "--output-dir", tmp_path / "a", "--server", server.url, WHISPER_API_KEY=KEY)
    (tmp_path / "scratch").mkdir()
    own = model_env | {"WHISPER_DATA_DIR": str(tmp_path / "data"), "TMPDIR": str(tmp_path / "scratch")}
    embedded = run(*options, "--output-dir", tmp_path / "b", **own)

    assert (by_server.returncode, embedded.returncode) == (0, 0), by_server.stderr + embedded.stderr
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert len(names) == 4 * len(files)
    for name in names:
        one, other = ((tmp_path / folder / name).read_text() for folder in "ab")
        if name.endswith("verbose.json") or not name.endswith(".json"):
            assert one == other, name
        else:
            assert stable(one) == stable(other), name
    assert "country" in (tmp_path / "a" / "jfk.txt").read_text()
    assert facts_in(by_server.stderr) == facts_in(embedded.stderr)
    assert facts_in(embedded.stderr)[0] == (
        f"{files[0].name}: gpu_used=false device=cpu compute_type=int8_float32 "
    )
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "data" / "spool").exists()


def test_one_bad_file_of_several_is_1_and_the_others_are_done(server: Server, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no audio at all" * 100)

    result = run(bad, JFK.path, "--server", server.url, "--api-key", KEY)

    assert result.returncode == 1
    assert "country" in result.stdout
    assert "bad.mp3: undecodable_media" in result.stderr
    assert "not on the GPU" in result.stderr
    assert "Fix: " in result.stderr


def test_what_can_not_be_tried_is_2(server: Server) -> None:
    nobody = run(JFK.path, "--server", f"http://127.0.0.1:{free_port()}")
    stranger = run(JFK.path, "--server", server.url)
    wrong = run(JFK.path, "--server", server.url, "--api-key", KEY, "--language", "klingon")

    assert [each.returncode for each in (nobody, stranger, wrong)] == [2, 2, 2]
    assert "server_unreachable" in nobody.stderr
    assert "unauthorized" in stranger.stderr
    assert "invalid_parameter: language" in wrong.stderr


@pytest.mark.parametrize("interruption", ["restart", "kill"])
def test_connection_that_breaks_in_mid_stream_is_taken_up_again(
    model_env: dict[str, str], tmp_path: Path, interruption: str
) -> None:
    talk = write_speech(tmp_path / "talk.wav", 100)
    server = Server(tmp_path / "data", env=model_env)
    server.start()
    try:
        server.wait_for("/health/ready")
        with start(talk, "--format", "json", "--server", server.url) as command:
            wait_until(lambda: segments_of(server) > 0, "a segment is there", 60)
            if interruption == "restart":
                server.stop()
                server.start()
            else:
                os.kill(worker_of(server), signal.SIGKILL)
                server.wait_for("/health/ready")
            out, err = command.communicate(timeout=180)

        assert command.returncode == 0, err
        jobs = server.get("/jobs").json["jobs"]
        answer = json.loads(out)
        assert [job["status"] for job in jobs] == ["succeeded"]
        assert answer["job_id"] == jobs[0]["job_id"]
        assert jobs[0]["attempts"] == 2
        assert [segment["id"] for segment in answer["segments"]] == list(range(len(answer["segments"])))
        assert answer["segments"][-1]["end"] > 90
    finally:
        server.stop()


def test_interrupted_command_cancels_its_job(server: Server, tmp_path: Path) -> None:
    talk = write_speech(tmp_path / "talk.wav", 600)

    with start(talk, "--server", server.url, WHISPER_API_KEY=KEY) as command:
        wait_until(lambda: "running" in statuses(server), "the job runs", 60)
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=20)

    assert command.returncode == 130
    wait_until(lambda: "running" not in statuses(server), "the job is cancelled", 5)
    assert statuses(server)[0] == "cancelled"


def test_command_that_is_told_to_end_leaves_no_process_and_no_file(
    model_env: dict[str, str], tmp_path: Path
) -> None:
    talk = write_speech(tmp_path / "talk.wav", 600)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    own = model_env | {"WHISPER_DATA_DIR": str(tmp_path / "data"), "TMPDIR": str(scratch)}

    with start(talk, **own) as command:
        lines = iter(command.stderr or ())
        next(line for line in lines if "transcribing" in line)
        children = list(descendants(command.pid))
        command.send_signal(signal.SIGTERM)
        command.communicate(timeout=20)

    assert command.returncode == 128 + signal.SIGTERM
    assert children
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "no child is left", 5)
    assert list(scratch.iterdir()) == []


def test_required_gpu_that_is_missing_fails_the_file_and_not_the_process(
    model_env: dict[str, str], tmp_path: Path
) -> None:
    own = model_env | {"WHISPER_DATA_DIR": str(tmp_path), "WHISPER_GPU_POLICY": "required"}

    result = run(JFK.path, CUDA_VISIBLE_DEVICES="", **own)

    assert result.returncode == 1
    assert "jfk.flac: gpu_required" in result.stderr


def segments_of(server: Server) -> int:
    jobs = server.get("/jobs").json["jobs"]
    return len(server.get(f"/jobs/{jobs[0]['job_id']}").json["segments"]) if jobs else 0


def statuses(server: Server) -> list[str]:
    answer = server.get("/jobs", headers={"Authorization": f"Bearer {KEY}"})
    return [job["status"] for job in answer.json["jobs"]]


def worker_of(server: Server) -> int:
    return next(pid for pid, command in server.children().items() if "gunicorn" in command)
