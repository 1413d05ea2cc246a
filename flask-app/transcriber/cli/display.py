"""What is shown while work goes on: a bar on a terminal, plain lines elsewhere. All of it on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from tqdm import tqdm

#: A plain line is printed when the stage changes, and each time progress grows by this many percent.
_LINE_PERCENT = 10

_BAR = "{desc} {percentage:3.0f}%|{bar}| "


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far one file is."""

    stage: str  #: uploading, waiting, fetching, decoding, transcribing
    percent: float = 0.0
    detail: str = ""

    @property
    def words(self) -> str:
        return f"{self.stage}, {self.detail}" if self.detail else self.stage


def standing_of(data: Mapping[str, Any]) -> Standing:
    """What a progress event says."""
    percent = float(data.get("percent") or 0.0)
    if data.get("status") == "queued" and not data.get("stage"):
        return Standing(stage="waiting", percent=percent, detail=_wait(data))
    left = data.get("seconds_left")
    detail = "" if left is None else f"about {_span(left)} left"
    return Standing(stage=str(data.get("stage") or "waiting"), percent=percent, detail=detail)


class Display(Protocol):
    """Shows how far the file is that is worked on, and lines that stay."""

    def show(self, name: str, standing: Standing) -> None: ...

    def say(self, line: str) -> None: ...

    def clear(self) -> None: ...


def make_display(stream: TextIO | None = None) -> Display:
    """The display for this stream (standard error)."""
    stream = stream or sys.stderr
    return Bar(stream) if stream.isatty() else Lines(stream)


class Bar:
    """One bar for the file at work; it goes when the file is done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[Any] | None = None
        tqdm.monitor_interval = 0  # or tqdm would start a thread to watch over slow bars

    def show(self, name: str, standing: Standing) -> None:
        words = standing.words.replace("{", "{{").replace("}", "}}")
        if self._bar is None:
            self._bar = tqdm(
                total=100.0,
                desc=name,
                file=self._stream,
                leave=False,
                bar_format=_BAR + words,
                dynamic_ncols=True,
            )
        self._bar.set_description_str(name, refresh=False)
        self._bar.bar_format = _BAR + words
        self._bar.n = round(min(standing.percent, 100.0), 1)
        self._bar.refresh()

    def say(self, line: str) -> None:
        self.clear()
        print(line, file=self._stream, flush=True)

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line for each thing that is new."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: tuple[str, str, int] | None = None

    def show(self, name: str, standing: Standing) -> None:
        news = (name, standing.stage, int(standing.percent // _LINE_PERCENT))
        if news != self._shown:
            self._shown = news
            percent = f" {standing.percent:.0f} %" if standing.percent else ""
            detail = f", {standing.detail}" if standing.detail else ""
            self.say(f"{name}: {standing.stage}{percent}{detail}")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def clear(self) -> None:
        """Nothing to take back."""


def _wait(data: Mapping[str, Any]) -> str:
    position, seconds = data.get("position"), data.get("wait_seconds")
    parts = [] if position is None else [f"position {position}"]
    return ", ".join(parts if seconds is None else [*parts, f"about {_span(seconds)}"])


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
