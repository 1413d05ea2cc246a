"""A stand-in engine child: speaks the real protocol, and does as its options say instead of transcribing.

Started in the place of the real one (WHISPER_ENGINE_COMMAND="python tests/support/standin_engine.py --windows-on cpu"),
with the socket's number and the configuration as last arguments. More options may come in STANDIN_OPTIONS, and
in the file that STANDIN_FILE names, so that each engine of one service can be another.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shlex
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from standin_selftest import SELFTESTS, report_of
from transcriber.domain.selftest import CLIP_TEXT
from transcriber.engine.protocol import Message, receive_message, send_message

WINDOW_SAMPLES = 30 * 16_000
OUT_OF_MEMORY = "CUDA failed with error out of memory"
CHECK_ID = "pipeline-check"
GPU_NAME = "Stand-in GPU"
GPU_UUID = "GPU-00000000-0000-0000-0000-000000000000"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--claim", help="device to claim when ready; default: the one asked for")
    parser.add_argument("--warmup-on", help="device of the warm-up window; default: the claimed one")
    parser.add_argument(
        "--windows-on", help="devices of the windows in turn, as cuda,cpu; default: the claimed one"
    )
    parser.add_argument(
        "--windows", type=int, help="windows of each job; default: by the length of the audio"
    )
    parser.add_argument(
        "--untold", type=int, action="append", default=[], help="tell no device of this window"
    )
    parser.add_argument("--crash-at", type=int, help="die before this window of a job (0: the first)")
    parser.add_argument(
        "--crash-times", type=int, default=1, help="how often to die, counted in --count-file"
    )
    parser.add_argument("--crash-with", default="KILL", help="signal's name, or an exit code")
    parser.add_argument("--count-file", type=Path, help="where deaths are counted over several lives")
    parser.add_argument("--hang-at", type=int, help="stop before this window until the job is cancelled")
    parser.add_argument(
        "--freeze-at", type=int, help="stop the whole process before this window, deaf to all"
    )
    parser.add_argument(
        "--compute-on-at",
        type=int,
        help="from this window on, compute until the end of time; cancels are answered",
    )
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that each window takes")
    parser.add_argument("--error-at", type=int, help="answer with an error before this window")
    parser.add_argument("--error-code", default="out_of_gpu_memory")
    parser.add_argument("--error-message", default="Told to fail.", help="of --error-at and --fail-start")
    parser.add_argument("--last-words", help="said on standard error before dying")
    parser.add_argument(
        "--faults-on", help="do what is to be done at windows only when asked for this device; default: any"
    )
    parser.add_argument(
        "--room",
        metavar="TYPE=WINDOWS",
        action="append",
        default=[],
        help="on a GPU: so many windows of this compute type fit at once, 0: none, -1: nor the model",
    )
    parser.add_argument("--nan-at", type=int, help="give no numbers with the text of this window")
    parser.add_argument("--fail-start", metavar="CODE", help="answer start_failed with this code")
    parser.add_argument(
        "--fail-start-times", type=int, default=10**9, help="only so often (needs --count-file)"
    )
    parser.add_argument("--fail-start-on", help="only when asked for this device; default: any")
    parser.add_argument("--crash-at-start", action="store_true", help="die without an answer")
    parser.add_argument("--hang-at-start", action="store_true", help="never become ready")
    parser.add_argument(
        "--selftest", default="pass", choices=SELFTESTS, help="what its self-tests find, the first at start"
    )
    parser.add_argument(
        "--selftest-file", type=Path, help="where a test finds that word, so that it can change; once there"
    )
    parser.add_argument("--selftest-on", help="only when asked for this device; default: any")
    parser.add_argument(
        "--pipeline-file",
        type=Path,
        help="where a test finds what the pipeline check meets: words (or nothing), garbage, no-speech, vad, fail, die",
    )
    parser.add_argument("--garbage-at", type=int, help="send a broken frame before this window")
    parser.add_argument("--language", default="en")
    parser.add_argument(
        "--text", default="window {index}", help="text of each segment; {index} is the window's"
    )
    parser.add_argument("--ignore-shutdown", action="store_true")
    parser.add_argument("--ignore-cancel", action="store_true")
    parser.add_argument("descriptor", type=int)
    parser.add_argument("config", type=json.loads)
    given = os.environ.get("STANDIN_OPTIONS", "")
    if path := os.environ.get("STANDIN_FILE"):
        given += " " + Path(path).read_text()
    return parser.parse_args(shlex.split(given) + arguments)


class StandIn:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.config = options.config
        self.claim = options.claim or self.config["device"]
        self.socket = socket.socket(fileno=options.descriptor)
        self.sending = threading.Lock()
        self.cancelled: dict[str, threading.Event] = {}
        self.batches = itertools.count(1)
        #: Windows that go together.
        self.size: int = self.config["batch_size"]

    def run(self) -> None:
        self.start()
        while (message := receive_message(self.socket)) is not None:
            if message["type"] == "transcribe":
                self.cancelled[message["job_id"]] = threading.Event()
                threading.Thread(target=self.transcribe, args=(message,), daemon=True).start()
            elif message["type"] == "cancel" and not self.options.ignore_cancel:
                self.cancelled.setdefault(message["job_id"], threading.Event()).set()
            elif message["type"] == "selftest":
                threading.Thread(target=self.test, args=(message["test_id"],), daemon=True).start()
            elif message["type"] == "shutdown" and not self.options.ignore_shutdown:
                break
        os._exit(0)

    def send(self, kind: str, **fields: Any) -> None:
        with self.sending:
            send_message(self.socket, {"type": kind, **fields})

    def start(self) -> None:
        print(f"stand-in engine for {self.config['device']}", file=sys.stderr, flush=True)
        is_hit = self.options.fail_start_on in (None, self.config["device"])
        if self.options.hang_at_start and is_hit:
            self.wait_for_end()
        if self.options.crash_at_start and is_hit:
            self.die("crashing at start as told")
        if self.room == -1:
            self.send("start_failed", code="out_of_memory", message=OUT_OF_MEMORY, fix="Free some.")
            os._exit(1)
        if self.options.fail_start and is_hit and self.counted(self.options.fail_start_times):
            self.send(
                "start_failed",
                code=self.options.fail_start,
                message=self.options.error_message,
                fix="Tell it otherwise.",
            )
            os._exit(1)
        self.admit()

    def admit(self) -> None:
        """The self-test at the start."""
        report = report_of(self.finding(), self.claim, self.config["compute_type"])
        step = next((step for step in report["steps"] if step["outcome"] == "failed"), None)
        if step is None:
            self.send("ready", **self.facts(report))
            return
        self.send(
            "start_failed", code=step["code"], message=step["message"], fix=step["fix"], selftest=report
        )
        os._exit(1)

    def test(self, test_id: int) -> None:
        """A self-test on the live engine."""
        self.send("selftest_started", test_id=test_id)
        report = report_of(self.finding(), self.claim, self.config["compute_type"])
        self.send("selftest_ended", test_id=test_id, report=report)

    def finding(self) -> str:
        """What a self-test is to find now; some finds come to no report."""
        path = self.options.selftest_file
        word = path.read_text().strip() if path is not None and path.exists() else self.options.selftest
        if self.options.selftest_on not in (None, self.config["device"]):
            return "pass"
        if word == "hang":
            self.wait_for_ever()
        if word == "die":
            self.die("dying in the self-test as told")
        return word

    def facts(self, report: dict[str, Any]) -> dict[str, Any]:
        on_gpu = self.claim == "cuda"
        return {
            "pid": os.getpid(),
            "device": self.claim,
            "device_index": self.config["device_index"],
            "device_name": self.config["device_name"] or (GPU_NAME if on_gpu else None),
            "device_uuid": self.config["device_uuid"] or (GPU_UUID if on_gpu else None),
            "model": self.config["model"],
            "compute_type": self.config["compute_type"],
            "requested_compute_type": self.config["compute_type"],
            "supported_compute_types": [self.config["compute_type"]],
            "load_seconds": 0.01,
            "warmup_seconds": 0.01,
            "warmup_device": self.options.warmup_on or self.claim,
            "selftest": report,
            "reference": None,
        }

    def transcribe(self, message: Message) -> None:
        job_id = message["job_id"]
        if job_id.startswith(CHECK_ID):
            self.check(job_id, message)
            return
        windows = self.options.windows or max(1, -(-message["samples"] // WINDOW_SAMPLES))
        devices = (self.options.windows_on or self.claim).split(",")
        resumption = message.get("resumption")
        if resumption is None:
            self.send(
                "language",
                job_id=job_id,
                language=message["options"]["language"] or self.options.language,
                language_probability=0.9,
            )
        if resumption is None or resumption["plan"] is None:
            self.tell_plan(job_id, windows, message["samples"])
        for index in range(resumption["windows"] if resumption else 0, windows):
            batch = next(self.batches)
            self.send("batch_started", batch=batch, job_ids=[job_id])
            goes_on = self.go_on(job_id, index) and self.fits(job_id, min(self.size, windows - index))
            self.send("batch_ended", batch=batch, sizes=[1])
            if not goes_on:
                return
            history = [index] if message["options"]["condition_on_previous_text"] else None
            device = devices[index % len(devices)]
            if index not in self.options.untold:
                self.send("window", job_id=job_id, index=index, device=device, history=history)
            self.send("segment", job_id=job_id, segment=self.segment(index, message))
        self.send("done", job_id=job_id, **self.totals(devices))

    def check(self, job_id: str, message: Message) -> None:
        """The pipeline check's clip, which the other options leave alone."""
        path = self.options.pipeline_file
        word = path.read_text().strip() if path is not None and path.exists() else ""
        fault = {"code": "engine_failed", "message": "Told to fail.", "fix": "Tell it otherwise."}
        if word == "die":
            self.die("dying in the pipeline check as told")
        self.send("language", job_id=job_id, language="en", language_probability=0.9)
        if word == "vad":
            self.send("error", job_id=job_id, **fault)
            return
        self.tell_plan(job_id, 1, 0 if word == "no-speech" else message["samples"])
        if word == "fail":
            self.send("error", job_id=job_id, **fault)
            return
        self.send("window", job_id=job_id, index=0, device=self.claim, history=None)
        text = "window 0" if word == "garbage" else CLIP_TEXT
        self.send("segment", job_id=job_id, segment=self.segment(0, message) | {"text": " " + text})
        self.send("done", job_id=job_id, **self.totals([self.claim]))

    @property
    def is_faulty(self) -> bool:
        return self.options.faults_on in (None, self.config["device"])

    @property
    def room(self) -> int | None:
        """How many windows fit at once; None: any number."""
        rooms = dict(each.split("=") for each in self.options.room)
        found = rooms.get(self.config["compute_type"]) if self.claim == "cuda" else None
        return None if found is None else int(found)

    def fits(self, job_id: str, size: int) -> bool:
        """Halve the batch until it fits, as the real child does; whether even one window does."""
        if self.room is None or size <= self.room:
            return True
        before = size
        while size > max(self.room, 1):
            size //= 2
        if before > size:
            self.size = size
            self.send("batch_shrunk", job_id=job_id, before=before, after=size)
        if self.room >= 1:
            return True
        self.send("error", job_id=job_id, code="out_of_memory", message=OUT_OF_MEMORY, fix="Free some.")
        return False

    def tell_plan(self, job_id: str, windows: int, samples: int) -> None:
        """All windows, in messages of sixteen as the real child sends them."""
        spans = [[index * WINDOW_SAMPLES, (index + 1) * WINDOW_SAMPLES] for index in range(windows)]
        for first in range(0, windows, 16):
            told = spans[first : first + 16]
            self.send(
                "plan",
                job_id=job_id,
                first_index=first,
                windows=told,
                speech=[[span] for span in told],
                is_complete=first + 16 >= windows,
                duration_after_vad=samples / 16_000,
                vad_seconds=0.01,
            )

    def go_on(self, job_id: str, index: int) -> bool:
        """Do before window `index` what the options say; whether the job continues."""
        options, cancelled = self.options, self.cancelled[job_id]
        if not self.is_faulty:
            return True
        if index == options.crash_at and self.counted(options.crash_times):
            self.die(f"crashing before window {index} as told")
        if index == options.garbage_at:
            with self.sending:
                self.socket.sendall(b"\xff\xff\xff\xff garbage")
        if index == options.freeze_at:
            os.kill(os.getpid(), signal.SIGSTOP)
            # The kernel stops the other threads first, now and then; this one must not run on meanwhile.
            threading.Event().wait(0.5)
        if index == options.hang_at:
            cancelled.wait()
        if index == options.compute_on_at and cancelled.wait(60):
            self.send("cancelled", job_id=job_id)
            self.wait_for_ever()
        if index == options.error_at:
            self.send(
                "error",
                job_id=job_id,
                code=options.error_code,
                message=options.error_message,
                fix="Tell it otherwise.",
            )
            return False
        if cancelled.wait(options.pace) if options.pace else cancelled.is_set():
            self.send("cancelled", job_id=job_id)
            return False
        return True

    def segment(self, index: int, message: Message) -> dict[str, Any]:
        end = min((index + 1) * 30.0, max(message["samples"] / 16_000, index * 30.0 + 1.0))
        text = " " + self.options.text.format(index=index)
        words = [{"start": index * 30.0, "end": end, "word": text, "probability": 0.9}]
        is_nan = index == self.options.nan_at and self.is_faulty
        return {
            "id": index,
            "seek": index * 3000,
            "start": index * 30.0,
            "end": end,
            "text": text,
            "tokens": [50364, index],
            "avg_logprob": math.nan if is_nan else -0.2,
            "compression_ratio": 1.1,
            "no_speech_prob": 0.01,
            "words": words if message["options"]["word_timestamps"] else None,
            "temperature": 0.0,
        }

    def totals(self, devices: list[str]) -> dict[str, Any]:
        return {
            "vad_seconds": 0.01,
            "language_detection_seconds": 0.01,
            "transcription_seconds": 0.05,
            "pool_peak_bytes": 123_456_789 if "cuda" in devices else None,
            "notices": [],
        }

    def counted(self, times: int) -> bool:
        """Whether this is to happen once more, and count it."""
        if self.options.count_file is None:
            return True
        with self.options.count_file.open("a+") as file:
            file.seek(0)
            happened = len(file.read())
            if happened < times:
                file.write("x")
        return happened < times

    def die(self, words: str) -> None:
        print(self.options.last_words or words, file=sys.stderr, flush=True)
        if self.options.crash_with.isdigit():
            os._exit(int(self.options.crash_with))
        os.kill(os.getpid(), signal.Signals[f"SIG{self.options.crash_with}"])
        self.wait_for_end()

    def wait_for_ever(self) -> None:
        """The thread computes, and nothing but the end of the process ends it."""
        threading.Event().wait()

    def wait_for_end(self) -> None:
        """Do nothing until the parent is gone."""
        while receive_message(self.socket) is not None:
            continue
        os._exit(0)


if __name__ == "__main__":
    StandIn(parse_arguments(sys.argv[1:])).run()
