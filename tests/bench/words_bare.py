"""Bare faster-whisper in a process of its own, for scripts/bench-words.

python words_bare.py MODEL_FOLDER THREADS: reads lines {path, way, batch_size, language, multilingual} and answers each with
{seconds, cpu_seconds, segments[{start, end, text}]}. The ways: vad, no-vad (both sequential), batched.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WAYS = ("vad", "no-vad", "batched")


class Bare:
    """The process, seen from the benchmark."""

    def __init__(self, model: Path, threads: int = 0) -> None:
        self._command = [sys.executable, __file__, str(model), str(threads)]

    def __enter__(self) -> Bare:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def transcribe(
        self, path: Path, way: str, language: str | None, batch_size: int = 8, *, multilingual: bool = False
    ) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"path": str(path), "way": way, "language": language, "batch_size": batch_size}
        order["multilingual"] = multilingual
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def main(folder: str, threads: str) -> None:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads))
    batched = BatchedInferencePipeline(model)
    for line in sys.stdin:
        order = json.loads(line)
        begun, cpu = time.perf_counter(), time.process_time()
        options = {
            "language": order["language"],
            "multilingual": order["multilingual"],
            "beam_size": 5,
            "without_timestamps": False,
        }
        if order["way"] == "batched":
            found = batched.transcribe(order["path"], batch_size=order["batch_size"], **options)[0]
        else:
            found = model.transcribe(order["path"], vad_filter=order["way"] == "vad", **options)[0]
        segments = [{"start": one.start, "end": one.end, "text": one.text} for one in found]
        answer = {
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": time.process_time() - cpu,
            "segments": segments,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
