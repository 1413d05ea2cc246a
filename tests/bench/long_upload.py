"""Sends a very long recording to a server of its own and says by how much each of its processes grew meanwhile."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from server import ROOT, Server, descendants, multipart

RATE = 16_000
SPEECH = ROOT / "tests" / "data" / "jfk.flac"

#: No process may grow by more, in bytes.
LIMIT_BYTES = 300_000_000


@dataclass
class Growth:
    """One process: what it held before the upload (a child that came later: when it was first seen), and the most since."""

    name: str
    before: dict[str, int]
    most: dict[str, int] = field(default_factory=dict)

    def note(self, now: dict[str, int]) -> None:
        for kind, size in now.items():
            self.most[kind] = max(size, self.most.get(kind, 0))

    def grown(self, kind: str) -> int:
        return self.most[kind] - self.before[kind]


def write_recording(path: Path, hours: float) -> None:
    """FLAC, mono: ten minutes of silence with one clip of speech at their beginning, again and again."""
    with av.open(str(SPEECH)) as source:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        parts = [out.to_ndarray() for frame in source.decode(audio=0) for out in resampler.resample(frame)]
    speech = np.concatenate(parts, axis=1)
    block = np.zeros((1, 60 * RATE), np.int16)
    spoken = block.copy()
    spoken[:, : speech.shape[1]] = speech
    with av.open(str(path), "w", format="flac") as target:
        stream = target.add_stream("flac", rate=RATE, layout="mono")
        for minute in range(round(60 * hours)):
            frame = av.AudioFrame.from_ndarray(
                spoken if minute % 10 == 0 else block, format="s16", layout="mono"
            )
            frame.sample_rate = RATE
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def memory_of(pid: int) -> dict[str, int] | None:
    """Bytes in memory: all of it, and that without files (which the kernel takes back when it needs room)."""
    try:
        lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    found = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in lines
        if line.startswith(("VmRSS", "RssAnon"))
    }
    return found if len(found) == 2 else None


def watch(pid: int, growths: dict[int, Growth], done: threading.Event) -> None:
    """Note what each process of the tree holds, twenty times a second."""
    while True:
        commands = {pid: "gunicorn", **descendants(pid)}
        for one, command in commands.items():
            if (now := memory_of(one)) is None:
                continue
            growth = growths.setdefault(one, Growth(name_of(command), now))
            growth.note(now)
        if done.wait(0.05):
            return


def name_of(command: str) -> str:
    for part, name in (("engine.child", "engine"), ("media.child.serve", "decoder"), ("gunicorn", "web")):
        if part in command:
            return name
    return command[:40] or "process"


def run(hours: float, model: str) -> dict[int, Growth]:
    """Upload, transcribe and measure. Raises RuntimeError when the job fails."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "long.flac"
        write_recording(recording, hours)
        environment = {
            "WHISPER_MODEL": model,
            "WHISPER_MODEL_PATH": str(ROOT / "data" / "models"),
            "WHISPER_GPU_POLICY": "off",
            "WHISPER_MAX_AUDIO_SECONDS": str(round(hours * 3600) + 60),
            "WHISPER_DECODE_TIMEOUT_SECONDS": "3600",
        }
        with Server(Path(folder) / "data", environment) as server:
            server.wait_for("/health/ready", 120)
            if server.transcribe(SPEECH).status != 200:
                raise RuntimeError("the warm-up failed")
            return measure(server, recording)


def measure(server: Server, recording: Path) -> dict[int, Growth]:
    growths: dict[int, Growth] = {}
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(server.pid, growths, done))
    watcher.start()
    try:
        begun = time.monotonic()
        body, content_type = multipart(recording.read_bytes(), recording.name, {})
        sent = server.request("POST", "/jobs", body=body, headers={"Content-Type": content_type}, timeout=600)
        if sent.status != 202:
            raise RuntimeError(sent.text)
        job = sent.json
        while job["status"] in ("queued", "running"):
            time.sleep(0.2)
            job = server.get(f"/jobs/{job['job_id']}").json
        if job["status"] != "succeeded":
            raise RuntimeError(str(job["error"]))
        print(f"{job['duration'] / 3600:.2f} h of audio, {recording.stat().st_size / 1e6:.0f} MB: ", end="")
        print(f"{time.monotonic() - begun:.0f} s, {len(job['segments'])} segments; stages: {job['timings']}")
    finally:
        done.set()
        watcher.join()
    return growths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--model", default="tiny.en")
    arguments = parser.parse_args()
    growths = run(arguments.hours, arguments.model)
    print(f"{'process':<10} {'before':>8} {'most':>8} {'grown':>8} {'grown without files':>20}   (MB)")
    for growth in growths.values():
        figures = (
            growth.before["VmRSS"],
            growth.most["VmRSS"],
            growth.grown("VmRSS"),
            growth.grown("RssAnon"),
        )
        before, most, grown, anonymous = (size / 1e6 for size in figures)
        print(f"{growth.name:<10} {before:>8.0f} {most:>8.0f} {grown:>8.0f} {anonymous:>20.0f}")
    worst = max(growth.grown("VmRSS") for growth in growths.values())
    print(f"worst: {worst / 1e6:.0f} MB; allowed: {LIMIT_BYTES / 1e6:.0f} MB")
    return 0 if worst <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
