"""What is killed, full or hostile does not take the service down."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_files import make_silent_flac
from server import Server, descendants, tree_memory_bytes

DEADLINE = 15.0


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for the tests after which it works as before."""
    env = {"WHISPER_MODEL": "tiny.en", "WHISPER_MODEL_PATH": str(models)}
    with Server(tmp_path_factory.mktemp("survival"), env=env) as started:
        started.wait_for("/health/ready")
        yield started


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def pid_of(server: Server, module: str) -> int:
    return next(pid for pid, command in server.children().items() if module in command)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.model
def test_engine_killed_in_the_middle_of_a_request_is_replaced_and_the_request_ends_well(
    shared: Server, speech: Path
) -> None:
    shared.wait_for("/health/ready")
    victim = pid_of(shared, "transcriber.engine.child.main")
    idle = _cpu_seconds(victim)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(shared.transcribe, speech)
        wait_until(lambda: _cpu_seconds(victim) > idle + 0.5, "the engine computes")
        os.kill(victim, signal.SIGKILL)
        answer = future.result()

    assert answer.status == 200
    assert "country" in answer.json["text"]
    assert answer.json["receipt"]["attempts"] == 2
    assert answer.json["receipt"]["engine_pid"] != victim
    shared.wait_for("/health/ready")


@pytest.mark.model
def test_media_process_killed_is_a_clear_error_or_unnoticed_and_the_next_request_works(
    server: Server, speech: Path
) -> None:
    slow = make_silent_flac(3.0)
    decode_server = pid_of(server, "transcriber.media.child.server")

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(server.transcribe, slow)
        wait_until(lambda: bool(descendants(decode_server)), "a media child runs")
        os.kill(next(iter(descendants(decode_server))), signal.SIGKILL)
        answer = future.result()

    assert (answer.status, answer.json["error"]["code"]) == (422, "decoder_crashed")
    assert server.transcribe(speech).status == 200

    os.kill(decode_server, signal.SIGKILL)
    assert server.transcribe(speech).status == 200


@pytest.mark.model
def test_sigterm_ends_the_whole_tree_within_ten_seconds_even_in_mid_work(
    serve: Callable[..., Server], speech: Path
) -> None:
    server = serve()
    pids = [server.pid, *server.children()]
    long_file = make_silent_flac(0.2)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: _quietly(lambda: server.transcribe(long_file, vad_filter="false")))
        wait_until(lambda: '"job_started"' in server.log_text(), "the job runs")
        pids += server.children()
        begun = time.monotonic()
        server.stop(timeout=10)

    assert time.monotonic() - begun < 10
    wait_until(lambda: all(is_gone(pid) for pid in pids), "no process is left", 1)


@pytest.mark.model
def test_no_child_outlives_a_killed_worker_and_another_takes_its_place(server: Server) -> None:
    worker = _worker_of(server)
    children = list(descendants(worker))
    assert children

    os.kill(worker, signal.SIGKILL)

    wait_until(lambda: all(is_gone(pid) for pid in children), "the children are gone", 5)
    server.wait_for("/health/ready")


@pytest.mark.model
def test_no_child_outlives_a_killed_master(serve: Callable[..., Server]) -> None:
    server = serve()
    doomed = list(server.children())
    assert len(doomed) > 2

    os.kill(server.pid, signal.SIGKILL)

    wait_until(lambda: all(is_gone(pid) for pid in doomed), "the children are gone", 5)


@pytest.mark.model
def test_limits_answer_413(serve: Callable[..., Server], speech: Path) -> None:
    server = serve(WHISPER_MAX_UPLOAD_BYTES="100000", WHISPER_MAX_AUDIO_SECONDS="5")

    too_large = server.transcribe(speech)
    too_long = server.transcribe(make_silent_flac(0.1), name="silence.flac")

    assert (too_large.status, too_large.json["error"]["code"]) == (413, "upload_too_large")
    assert (too_long.status, too_long.json["error"]["code"]) == (413, "audio_too_long")


@pytest.mark.model
def test_small_file_of_ten_hours_costs_no_memory(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_MAX_AUDIO_SECONDS="30000")
    base = tree_memory_bytes(server.pid)
    bomb = make_silent_flac(10.0)
    assert len(bomb) < 1_000_000
    peak = 0

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(server.transcribe, bomb)
        while not future.done():
            peak = max(peak, tree_memory_bytes(server.pid))
            time.sleep(0.02)

    assert (future.result().status, future.result().json["error"]["code"]) == (413, "audio_too_long")
    assert peak - base < 300 * 1024 * 1024


def test_refused_upload_leaves_nothing_in_the_spool_and_a_failed_job_its_upload(server: Server) -> None:
    spool = server.data_dir / "spool"
    before = set(spool.iterdir())

    def added() -> list[str]:
        return [path.name for folder in set(spool.iterdir()) - before for path in (folder, *folder.iterdir())]

    server.transcribe(b"")
    wait_until(lambda: not added(), "the spool is as before")

    server.transcribe(b"not audio")
    wait_until(lambda: added()[1:] == ["upload"], "only the upload is left")


def test_required_without_a_gpu_ends_with_3_and_says_why(models: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, env={"WHISPER_GPU_POLICY": "required", "WHISPER_MODEL_PATH": str(models)})

    with pytest.raises(RuntimeError, match="server ended with 3"):
        server.start()

    assert "no NVIDIA driver" in server.log_text()


def test_second_service_on_the_same_data_is_refused(server: Server) -> None:
    second = Server(server.data_dir, env={"WHISPER_MODEL": "tiny.en"})
    with pytest.raises(RuntimeError, match="in use by the process"):
        second.start()


def test_network_address_without_a_key_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path, env={"WHISPER_HOST": "0.0.0.0"})

    with pytest.raises(RuntimeError, match="WHISPER_API_KEY"):
        server.start()


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    except OSError:
        return


def _cpu_seconds(pid: int) -> float:
    """User time of a process, in seconds."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11]) / os.sysconf("SC_CLK_TCK")


def _worker_of(server: Server) -> int:
    return next(pid for pid in server.children() if _parent(pid) == server.pid)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
