"""Jobs that are killed and resumed must tell what an untouched one tells. As a program, as often as one likes:

python tests/chaos/interruptions.py --times 50 [--model tiny.en] [--minutes 3] [--seed 1] [key=value …]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper.audio import decode_audio

from engine_driver import Answer, EngineDriver, write_pcm
from speech_clips import ENGLISH_CLIPS, OTHER_CLIPS

MODELS = Path(__file__).resolve().parents[2] / "data" / "models"


def make_speech(path: Path, seconds: float) -> Path:
    """English, and once a language that tiny.en does not know: it has to try that again, by sampling."""
    gap, silence = np.zeros(12_000, np.float32), np.zeros(96_000, np.float32)
    foreign = next(clip for clip in OTHER_CLIPS if clip.name == "fr-pangrama")
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * 16_000:
        for clip in ENGLISH_CLIPS:
            parts += [decode_audio(str(clip.path)), gap]
        if len(parts) == 2 * len(ENGLISH_CLIPS):
            parts += [silence, decode_audio(str(foreign.path)), silence]
    return write_pcm(path, np.concatenate(parts)[: int(seconds * 16_000)])


@dataclass
class Heard:
    """What a service has in its journal of a job, over all engines that worked on it."""

    language: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=lambda: {"windows": [], "speech": [], "is_complete": False})
    windows: list[dict[str, Any]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)

    def add(self, messages: list[dict[str, Any]], until_window: int | None = None) -> None:
        """Take messages in order, up to the end of this window."""
        for message in messages:
            match message["type"]:
                case "language":
                    self.language = message
                case "plan":
                    self._add_plan(message)
                case "window":
                    if until_window is not None and message["index"] > until_window:
                        return
                    self.windows.append(message)
                case "segment":
                    self.segments.append(message["segment"])

    def _add_plan(self, message: dict[str, Any]) -> None:
        for name in ("windows", "speech", "faint", "channels"):
            message = {**message, name: self.plan.get(name, [])[: message["first_index"]] + message[name]}
        self.plan = message

    def resumption(self, *, with_plan: bool) -> dict[str, Any] | None:
        if not self.language:
            return None
        return {
            "language": self.language["language"],
            "language_probability": self.language["language_probability"],
            "windows": len(self.windows),
            "segments": len(self.segments),
            "last_ends": [[None, self.segments[-1]["end"]]] if self.segments else [],
            "history": self.windows[-1]["history"] if self.windows else None,
            "plan": self.plan if with_plan and self.plan["is_complete"] else None,
        }


def run_untouched(model: str, path: Path, pcm: Path, **options: Any) -> Answer:
    driver = EngineDriver(model, path)
    try:
        driver.start()
        return driver.transcribe("job", pcm, **options)
    finally:
        driver.close()


def run_interrupted(
    model: str, path: Path, pcm: Path, places: Sequence[int], *, with_plan: bool, **options: Any
) -> tuple[Heard, list[Answer]]:
    """The job, its engine killed after each of these windows, and what each engine said."""
    heard, answers = Heard(), []
    for place in (*places, None):
        driver = EngineDriver(model, path)
        try:
            driver.start()
            driver.submit("job", pcm, resumption=heard.resumption(with_plan=with_plan), **options)
            if place is None:
                answers.append(driver.answer("job"))
                heard.add(answers[-1].messages)
                continue
            # What follows a window's segments shows that they are all there.
            driver.wait_for(lambda m, last=place: m["type"] == "window" and m["index"] > last, 180)  # type: ignore[misc]
            driver.process.kill()
            driver.process.wait()
            answers.append(driver.said("job"))
            heard.add(answers[-1].messages, until_window=place)
        finally:
            driver.close()
    return heard, answers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("options", nargs="*", help="options of the job, as word_timestamps=true")
    given = parser.parse_args()
    options = {name: json.loads(value) for name, value in (each.split("=", 1) for each in given.options)}
    choose = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        pcm = make_speech(Path(folder) / "speech.pcm", given.minutes * 60)
        path = MODELS / given.model
        untouched = run_untouched(given.model, path, pcm, **options)
        count = len(untouched.of("window"))
        same = 0
        for turn in range(given.times):
            places = [choose.randrange(count - 1)]
            heard, _ = run_interrupted(given.model, path, pcm, places, with_plan=turn % 2 == 0, **options)
            same += heard.segments == untouched.segments
            print(
                f"interrupted after window {places[0]} of {count}: {same} of {turn + 1} the same", flush=True
            )
    return 0 if same == given.times else 1


if __name__ == "__main__":
    sys.exit(main())
