"""python -m transcriber transcribe FILE…: files in, transcripts out, by a running server or inside this process."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from ..domain.errors import ConfigError, MissingAudioError, RequestError, TranscriberError
from ..domain.options import CHANNELS, TASKS
from .backend import ENDINGS, Backend
from .display import Display, Standing, make_display, standing_of
from .embedded import EmbeddedBackend
from .http import Http, error_from
from .output import Output
from .request import TranscribeRequest
from .sent_file import file_error
from .server import ServerBackend

#: Files that are sent ahead of the one whose transcript is next, so that a GPU has more than one to work on.
AHEAD = 4

#: Exit statuses. 2: the command or the server is at fault, so that no file could be done.
DONE, SOME_FAILED, NOT_POSSIBLE = 0, 1, 2

#: Files in work: each with its job, or with why there is none.
Sent = deque[tuple[Path, "str | TranscriberError"]]


def add_parser(commands: Any) -> None:
    """The command with its options."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "transcribe", help="transcribe files, by a running server (--server) or inside this process"
    )
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE")
    add("--server", metavar="URL", help="address of a running server; without it, the work is done here")
    add("--api-key", metavar="KEY", help="the server's key; better in the variable WHISPER_API_KEY")
    add("--model", help="name of a model there")
    add("--language", help="a code or an English name; auto: detect")
    add("--languages", metavar="CODES", help="those that may be detected, as en,de")
    add("--multilingual", action="store_true", help="the language changes within a file")
    add("--task", choices=TASKS)
    add("--format", choices=ENDINGS, action="append", default=[], help="may be given several times (txt)")
    add("--output-dir", type=Path, metavar="DIR", help="write NAME.FORMAT there, not to standard output")
    add("--use-gpu", action=argparse.BooleanOptionalAction, default=None)
    add("--require-gpu", action="store_true", help="fail rather than let the CPU do it")
    add("--word-timestamps", action="store_true")
    add("--channels", choices=CHANNELS, default="mix", help="split: each channel on its own")
    add("--audio-track", type=int, metavar="N", help="of a video with several, from 0")
    add("--diarize", action="store_true")
    for name in ("--num-speakers", "--min-speakers", "--max-speakers"):
        add(name, type=int, metavar="N")
    add("--priority", type=_priority, default=0, metavar="N", help="-100 to 100; higher runs earlier")
    parser.set_defaults(command=run, parser=parser)


def run(parsed: argparse.Namespace) -> int:
    """The command. Raises TranscriberError for what makes it impossible."""
    if parsed.require_gpu and parsed.use_gpu is False:
        parsed.parser.error("--require-gpu and --no-use-gpu contradict one another")
    for file in parsed.files:
        _check_file(file)
    files = list(dict.fromkeys(parsed.files))
    output = Output.plan(files, parsed.format, parsed.output_dir)
    with _interruptible():
        backend = _backend_of(parsed, os.environ)
        try:
            return Transcribe(backend, output, make_display()).run(files, _order_of(parsed))
        finally:
            backend.close()


class Transcribe:
    """The files, one transcript after the other in their order."""

    def __init__(self, backend: Backend, output: Output, display: Display) -> None:
        self._backend = backend
        self._output = output
        self._display = display

    def run(self, files: list[Path], order: TranscribeRequest) -> int:
        """Exit status. Raises TranscriberError where no file can be done; jobs still at work are cancelled."""
        waiting, sent = deque(files), Sent()
        failed = 0
        try:
            while waiting or sent:
                while waiting and len(sent) < AHEAD:
                    sent.append((waiting[0], self._submit(waiting[0], order)))
                    waiting.popleft()
                failed += not self._finish(*sent[0])
                sent.popleft()
        except BaseException:
            self._give_up(sent)
            raise
        return SOME_FAILED if failed else DONE

    def _submit(self, file: Path, order: TranscribeRequest) -> str | TranscriberError:
        def told(sent: int, size: int) -> None:
            percent = f"{100 * sent / size:.0f} %" if size else ""
            self._display.show(file.name, Standing(stage="uploading", detail=percent))

        try:
            return self._backend.submit(file, order, told)
        except TranscriberError as error:
            if _is_hopeless(error):
                raise
            return error

    def _finish(self, file: Path, job: str | TranscriberError) -> bool:
        """Follow one job to its end and write what came of it; whether it went well."""
        try:
            if isinstance(job, TranscriberError):
                raise job
            self._follow(file, job)
            answer = self._backend.answer(job)
            transcripts = {ending: self._backend.transcript(job, ending) for ending in self._output.formats}
            self._display.clear()
            self._output.write(file, transcripts)
        except TranscriberError as error:
            if error.code == "server_unreachable":
                raise
            for line in _failure(file.name, error):
                self._display.say(line)
            return False
        for line in facts(file.name, answer):
            self._display.say(line)
        return True

    def _follow(self, file: Path, job_id: str) -> None:
        """Raises the job's error."""
        for event in self._backend.follow(job_id):
            if event.kind == "progress":
                self._display.show(file.name, standing_of(event.data))
            elif event.kind == "error":
                raise error_from(event.data["error"])

    def _give_up(self, sent: Sent) -> None:
        """These have been given up."""
        self._display.clear()
        for _, job in sent:
            if isinstance(job, str):
                with suppress(TranscriberError):
                    self._backend.cancel(job)


def facts(name: str, answer: Mapping[str, Any]) -> Iterator[str]:
    """Where the work ran and how fast, why it was not the GPU, and what there is to know."""
    reason = answer["fallback_reason"]
    if reason is not None:
        yield f"{name}: not on the GPU: {reason['code']}: {reason['message']}"
        yield f"Fix: {reason['fix']}"
    for notice in answer["warnings"]:
        yield f"{name}: warning: {notice['code']}: {notice['message']}"
    yield (
        f"{name}: gpu_used={str(answer['gpu_used']).lower()} device={answer['device']} "
        f"compute_type={answer['compute_type']} rtfx={answer['rtfx']}"
    )


def _failure(name: str, error: TranscriberError) -> Iterator[str]:
    yield f"{name}: {error.code}: {error.message}"
    if error.fix:
        yield f"Fix: {error.fix}"


def _is_hopeless(error: TranscriberError) -> bool:
    """Whether every other file would be refused as well: the options, the key or the server are at fault."""
    if isinstance(error, RequestError):
        return not isinstance(error, MissingAudioError)
    return isinstance(error, ConfigError) or error.code == "server_unreachable"


def _backend_of(parsed: argparse.Namespace, environ: Mapping[str, str]) -> Backend:
    if parsed.server is None:
        return EmbeddedBackend.start(environ)
    server = ServerBackend(Http(parsed.server, parsed.api_key or environ.get("WHISPER_API_KEY", "")))
    server.check()
    return server


def _order_of(parsed: argparse.Namespace) -> TranscribeRequest:
    return TranscribeRequest(
        model=parsed.model,
        language=parsed.language,
        languages=parsed.languages,
        multilingual=parsed.multilingual,
        task=parsed.task,
        use_gpu=parsed.use_gpu,
        require_gpu=parsed.require_gpu,
        word_timestamps=parsed.word_timestamps,
        channels=parsed.channels,
        audio_track=parsed.audio_track,
        diarize=parsed.diarize,
        num_speakers=parsed.num_speakers,
        min_speakers=parsed.min_speakers,
        max_speakers=parsed.max_speakers,
        priority=parsed.priority,
    )


def _check_file(file: Path) -> None:
    """Raises TranscriberError (file_not_readable) before any work."""
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise file_error(file, error) from error


def _priority(text: str) -> int:
    number = int(text)
    if not -100 <= number <= 100:
        raise argparse.ArgumentTypeError("a whole number from -100 to 100")
    return number


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does: jobs are cancelled and files removed."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        signal.signal(signal.SIGTERM, before)
