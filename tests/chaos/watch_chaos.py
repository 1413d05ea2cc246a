"""Drop files into a watched folder while its service is killed again and again: each is transcribed once, none is lost.

Run with the project's interpreter: PYTHONPATH=tests/support:tests/chaos .venv/bin/python tests/chaos/watch_chaos.py FILES KILLS
"""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path

import av

from server import ROOT, Server

WAYS = ("copy", "rename", "slow", "partial")


def clip(number: int, source: bytes) -> bytes:
    """A second of speech, so that no two files are the same."""
    start = (number * 1_600) % (len(source) - 48_000) // 2 * 2
    return source[start : start + 32_000]


def speech() -> bytes:
    """Eleven seconds, 16 kHz, 16 bits."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(ROOT / "tests" / "data" / "jfk.flac")) as file:
        return b"".join(
            made.to_ndarray().tobytes()
            for frame in file.decode(audio=0)
            for made in resampler.resample(frame)
        )


def drop(folder: Path, number: int, pcm: bytes) -> None:
    """One file, in one of the ways in which files arrive."""
    way = WAYS[number % len(WAYS)]
    path = folder / f"{number % 7}" / f"{way}-{number:04}.wav"
    path.parent.mkdir(exist_ok=True)
    whole = path.parent / f".{path.name}.tmp"
    with wave.open(str(whole), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(pcm)
    data = whole.read_bytes()
    whole.unlink()
    if way == "copy":
        path.write_bytes(data)
    elif way == "rename":
        whole.write_bytes(data)
        whole.rename(path)
    elif way == "slow":
        with path.open("wb") as file:
            for start in range(0, len(data), 8_000):
                file.write(data[start : start + 8_000])
                file.flush()
                time.sleep(0.05)
    else:  # as NFS shows a file that another machine writes: its size first, its bytes later, out of order
        with path.open("wb") as file:
            file.truncate(len(data))
            for start in random.sample(range(0, len(data), 8_000), -(-len(data) // 8_000)):
                file.seek(start)
                file.write(data[start : start + 8_000])
                file.flush()
                time.sleep(0.02)


def main() -> int:
    files, kills = int(sys.argv[1]), int(sys.argv[2])
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="watch-chaos-") as name:
        return run(Path(name), files, kills)


def run(base: Path, files: int, kills: int) -> int:
    folder = base / "watched"
    folder.mkdir()
    pcm = speech()
    server = Server(
        base / "data",
        env={
            "WHISPER_MODEL": "tiny.en",
            "WHISPER_MODEL_PATH": str(ROOT / "data" / "models"),
            "WHISPER_WATCH_DIR": str(folder),
            "WHISPER_WATCH_POLL_SECONDS": "1",
            "WHISPER_WATCH_SETTLE_SECONDS": "2",
        },
    )
    begun = time.monotonic()
    server.start()

    def write() -> None:
        for number in range(files):
            drop(folder, number, clip(number, pcm))

    writer = threading.Thread(target=write)
    writer.start()
    done = 0
    for kill in range(kills):
        time.sleep(random.uniform(3, 7))
        group = os.getpgid(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
        time.sleep(1.0)
        server.log.close()
        server.start()
        done = len(list(folder.rglob("*.srt")))
        print(f"kill {kill + 1} (group {group}): {done} transcripts", flush=True)
    writer.join()
    deadline = time.monotonic() + 600
    while (done := len(list(folder.rglob("*.srt")))) < files and time.monotonic() < deadline:
        time.sleep(1)
    server.stop()
    texts = collections.Counter(path.name.partition(".")[0] for path in folder.rglob("*.srt"))
    rows = (
        sqlite3.connect(base / "data" / "jobs.sqlite3")
        .execute("SELECT status, count(*), count(distinct file_name) FROM jobs GROUP BY status")
        .fetchall()
    )
    errors = len(list(folder.rglob("*.error.txt")))
    found = {
        "files": files,
        "kills": kills,
        "with_transcript": len(texts),
        "with_more_than_one": sum(count > 1 for count in texts.values()),
        "error_files": errors,
        "jobs": rows,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(found))

    return 0 if len(texts) == files and errors == 0 and rows == [("succeeded", files, files)] else 1


if __name__ == "__main__":
    sys.exit(main())
