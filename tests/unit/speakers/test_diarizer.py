"""The diarization child: started when needed, proven, and ended when idle, cancelled or broken."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transcriber.domain.errors import DiarizationError, JobCancelledError, ShuttingDownError
from transcriber.speakers.diarizer import ChildDiarizer, DiarizerConfig

CHILD = """
import json, socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
lines = sock.makefile("r")
def send(**message):
    sock.sendall(json.dumps(message).encode() + b"\\n")
{start}
for line in lines:
    message = json.loads(line)
    {work}
"""
READY = 'import os; send(type="ready", pid=os.getpid(), device="cpu", provider="CPUExecutionProvider", load_seconds=0.1)'
ANSWER = (
    'send(type="progress", part=0.5); send(type="done", turns=[[0, 0.0, 1.5]], voices=[[1.0, 0.0]], references=[0], '
    "silent_references=[1], seconds=0.2)"
)


@pytest.fixture
def make() -> Iterator[Callable[..., ChildDiarizer]]:
    made: list[ChildDiarizer] = []

    def build(start: str = READY, work: str = ANSWER, idle_seconds: float = 60.0) -> ChildDiarizer:
        program = CHILD.format(start=start, work=work)
        config = DiarizerConfig(idle_seconds=idle_seconds, command=(sys.executable, "-c", program))
        made.append(ChildDiarizer(config))
        return made[-1]

    yield build
    for diarizer in made:
        diarizer.close()


PCM = Path("/nowhere.pcm")


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_turns_and_where_they_were_found(make: Callable[..., ChildDiarizer]) -> None:
    diarizer = make()
    parts: list[float] = []

    found = diarizer.diarize(PCM, 16_000, minimum=1, maximum=2, progress=parts.append)

    assert [(one.speaker, one.start, one.end) for one in found.turns] == [(0, 0.0, 1.5)]
    assert (found.device, found.provider, found.pid) == ("cpu", "CPUExecutionProvider", diarizer.pid)
    assert parts == [0.5]
    assert (found.references, found.silent_references) == ((0,), (1,))


def test_the_child_serves_one_job_after_the_other(make: Callable[..., ChildDiarizer]) -> None:
    diarizer = make()

    first, second = (diarizer.diarize(PCM, 16_000).pid for _ in range(2))

    assert first == second


def test_an_idle_child_is_ended_and_the_next_job_has_a_new_one(make: Callable[..., ChildDiarizer]) -> None:
    diarizer = make(idle_seconds=0.05)
    before = diarizer.diarize(PCM, 16_000).pid

    wait_until(lambda: diarizer.pid is None)

    assert not is_running(before)
    assert diarizer.diarize(PCM, 16_000).pid != before


def test_a_child_that_can_not_start_says_why(make: Callable[..., ChildDiarizer]) -> None:
    start = (
        'send(type="start_failed", code="speaker_model_damaged", message="embedding.onnx", fix="Install it.")'
    )

    with pytest.raises(DiarizationError, match="embedding.onnx") as raised:
        make(start=start).diarize(PCM, 16_000)

    assert raised.value.code == "speaker_model_damaged"
    assert raised.value.fix == "Install it."


def test_another_device_than_was_asked_for_is_refused(make: Callable[..., ChildDiarizer]) -> None:
    with pytest.raises(DiarizationError):
        make(start=READY.replace('"cpu"', '"cuda"')).diarize(PCM, 16_000)


@pytest.mark.parametrize(
    "work",
    ["break", 'send(type="error", message="ValueError()")', 'sock.sendall(b"{\\n")', 'send(type="done")'],
)
def test_a_child_that_breaks_is_an_error_and_the_next_job_has_a_new_one(
    make: Callable[..., ChildDiarizer], work: str
) -> None:
    diarizer = make(work=work)

    with pytest.raises(DiarizationError):
        diarizer.diarize(PCM, 16_000)

    assert diarizer.pid is None


def test_a_cancelled_job_ends_the_child(make: Callable[..., ChildDiarizer]) -> None:
    diarizer = make(work="time.sleep(600)")
    pids: list[int | None] = []

    def cancelled() -> bool:
        pids.append(diarizer.pid)
        return len(pids) > 2

    with pytest.raises(JobCancelledError):
        diarizer.diarize(PCM, 16_000, cancelled=cancelled)

    assert pids[-1] is not None and not is_running(pids[-1])


def test_after_close_nothing_is_started(make: Callable[..., ChildDiarizer]) -> None:
    diarizer = make()
    diarizer.close()

    with pytest.raises(ShuttingDownError):
        diarizer.diarize(PCM, 16_000)


def test_the_real_child_refuses_a_gpu_that_is_not_there_and_damaged_models(tmp_path: Path) -> None:
    """It never goes to the CPU in silence."""
    diarizer = ChildDiarizer(DiarizerConfig(device="cuda"))
    with pytest.raises(DiarizationError) as raised:
        diarizer.diarize(PCM, 0)
    diarizer.close()
    assert raised.value.code == "speaker_device_unavailable"

    (tmp_path / "segmentation.onnx").write_bytes(b"damaged")
    diarizer = ChildDiarizer(DiarizerConfig(weights=tmp_path))
    with pytest.raises(DiarizationError) as raised:
        diarizer.diarize(PCM, 0)
    diarizer.close()
    assert raised.value.code == "speaker_model_damaged"


def test_the_real_child_ends_with_its_socket(tmp_path: Path) -> None:
    diarizer = ChildDiarizer(DiarizerConfig())
    pcm = tmp_path / "silence.pcm"
    pcm.write_bytes(bytes(2 * 16_000))

    found = diarizer.diarize(pcm, 16_000)

    assert found.turns == () and found.voices == ()
    assert found.provider == "CPUExecutionProvider"
    assert json.loads(Path(f"/proc/{found.pid}/cmdline").read_bytes().split(b"\0")[-2])["device"] == "cpu"
    assert os.getpgid(found.pid) == found.pid
    diarizer.close()
    assert not is_running(found.pid)
