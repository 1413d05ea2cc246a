"""The command over a fake backend: order, failures, exit status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from transcriber.cli import main
from transcriber.cli.backend import Told
from transcriber.cli.display import Standing
from transcriber.cli.output import Output
from transcriber.cli.request import TranscribeRequest
from transcriber.cli.retries import unreachable
from transcriber.cli.transcribe import AHEAD, Transcribe
from transcriber.domain.errors import (
    EmptyUploadError,
    InvalidParameterError,
    TranscriberError,
    UploadTooLargeError,
)
from transcriber.domain.feed import FeedEvent

REASON = {"code": "no_nvidia_gpu", "message": "There is none.", "fix": "Buy one."}
ANSWER = {
    "gpu_used": False,
    "device": "cpu",
    "compute_type": "int8_float32",
    "rtfx": 7.5,
    "fallback_reason": None,
    "warnings": [],
}


class FakeBackend:
    """Jobs that end as their file's name says; refuses to be submitted to where `refusals` says so."""

    def __init__(self) -> None:
        self.refusals: dict[str, TranscriberError] = {}
        self.answer_facts: dict[str, Any] = dict(ANSWER)
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.open = 0
        self.most_open = 0

    def submit(self, file: Path, order: TranscribeRequest, told: Told) -> str:
        if file.name in self.refusals:
            raise self.refusals[file.name]
        told(1, 2)
        self.submitted.append(file.name)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return file.name

    def follow(self, job_id: str) -> Iterator[FeedEvent]:
        yield FeedEvent(kind="progress", data={"status": "running", "stage": "decoding", "percent": 0.0})
        self.open -= 1
        if "lost" in job_id:
            raise unreachable("gone")
        if "stopped" in job_id:
            raise KeyboardInterrupt
        if "bad" in job_id:
            error = {"code": "undecodable_media", "message": "No audio.", "param": None, "fix": "Send audio."}
            yield FeedEvent(kind="error", data={"error": error}, number=1)
        else:
            yield FeedEvent(kind="done", data={}, number=1)

    def answer(self, job_id: str) -> Mapping[str, Any]:
        return self.answer_facts

    def transcript(self, job_id: str, ending: str) -> str:
        return f"{job_id} as {ending}\n"

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def close(self) -> None:
        return


class FakeDisplay:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stages: list[str] = []

    def show(self, name: str, standing: Standing) -> None:
        self.stages.append(f"{name}: {standing.words}")

    def say(self, line: str) -> None:
        self.lines.append(line)

    def clear(self) -> None:
        return


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def display() -> FakeDisplay:
    return FakeDisplay()


def run(backend: FakeBackend, display: FakeDisplay, *names: str) -> int:
    files = [Path(name) for name in names]
    return Transcribe(backend, Output.plan(files, [], None), display).run(files, TranscribeRequest())


def test_transcripts_come_in_the_order_of_the_files_and_a_few_are_sent_ahead(
    backend: FakeBackend, display: FakeDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{n}.wav" for n in range(10)]

    assert run(backend, display, *names) == 0

    assert capsys.readouterr().out == "".join(f"{name} as txt\n" for name in names)
    assert backend.most_open == AHEAD
    assert display.lines[0] == "0.wav: gpu_used=false device=cpu compute_type=int8_float32 rtfx=7.5"
    assert "0.wav: uploading, 50 %" in display.stages
    assert "0.wav: decoding" in display.stages


def test_reason_its_fix_and_warnings_come_before_the_last_line(
    backend: FakeBackend, display: FakeDisplay
) -> None:
    warning = {"code": "short", "message": "Very short.", "param": None}
    backend.answer_facts |= {"fallback_reason": REASON, "warnings": [warning]}

    run(backend, display, "a.wav")

    assert display.lines == [
        "a.wav: not on the GPU: no_nvidia_gpu: There is none.",
        "Fix: Buy one.",
        "a.wav: warning: short: Very short.",
        "a.wav: gpu_used=false device=cpu compute_type=int8_float32 rtfx=7.5",
    ]


def test_file_that_fails_is_told_and_the_others_are_done(
    backend: FakeBackend, display: FakeDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.refusals = {"empty.wav": EmptyUploadError(), "huge.wav": UploadTooLargeError()}

    assert run(backend, display, "bad.wav", "empty.wav", "huge.wav", "good.wav") == 1

    assert capsys.readouterr().out == "good.wav as txt\n"
    assert display.lines[:2] == ["bad.wav: undecodable_media: No audio.", "Fix: Send audio."]
    assert any(line.startswith("empty.wav: empty_upload") for line in display.lines)
    assert any(line.startswith("huge.wav: upload_too_large") for line in display.lines)


@pytest.mark.parametrize("error", [InvalidParameterError("language", "klingon", "en"), unreachable("gone")])
def test_what_every_file_would_be_refused_for_ends_the_command_and_cancels_what_runs(
    backend: FakeBackend, display: FakeDisplay, error: TranscriberError
) -> None:
    backend.refusals = {"c.wav": error}

    with pytest.raises(TranscriberError) as caught:
        run(backend, display, "a.wav", "b.wav", "c.wav")

    assert caught.value is error
    assert backend.cancelled == ["a.wav", "b.wav"]


@pytest.mark.parametrize(("name", "kind"), [("lost", TranscriberError), ("stopped", KeyboardInterrupt)])
def test_command_that_is_stopped_or_loses_its_server_cancels_all_its_jobs(
    backend: FakeBackend, display: FakeDisplay, name: str, kind: type[BaseException]
) -> None:
    with pytest.raises(kind):
        run(backend, display, "a.wav", f"{name}.wav", "c.wav")

    assert backend.cancelled == [f"{name}.wav", "c.wav"]


def test_file_that_is_not_there_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(tmp_path / "none.wav"), "--server", "http://127.0.0.1:1"]) == 2

    assert "file_not_readable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--priority", "101"], ["--require-gpu", "--no-use-gpu"], ["--format", "docx"], ["--task", "sing"]],
)
def test_wrong_usage_is_2(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.wav"
    file.touch()

    with pytest.raises(SystemExit) as caught:
        main(["transcribe", str(file), *arguments])

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_address_that_is_none_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.wav"
    file.touch()

    assert main(["transcribe", str(file), "--server", "ftp://host"]) == 2
    assert "--server was 'ftp://host'" in capsys.readouterr().err


def test_order_sends_only_what_was_said() -> None:
    said = TranscribeRequest(use_gpu=False, model="base", word_timestamps=True, priority=-3)

    assert TranscribeRequest().to_fields() == {}
    assert said.to_fields() == {
        "use_gpu": "false",
        "model": "base",
        "word_timestamps": "true",
        "priority": "-3",
    }
