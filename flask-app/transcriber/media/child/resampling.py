"""Frames of any rate, layout and sample format to 16 kHz int16, by FFmpeg's filters."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.filter import Graph

from transcriber.domain.ports import SAMPLE_BYTES, SAMPLE_RATE

#: How many samples a second FFmpeg may put in or leave out to follow a clock that runs otherwise, and how far off (s) it
#: fills or cuts instead.
_STRETCH_SAMPLES = SAMPLE_RATE // 5
_HARD_SECONDS = 0.4

#: What a mix of channels is made of; None: FFmpeg's own rule.
_PICKED = {"left": "mono|c0=c0", "right": "mono|c0=c1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Treatment:
    """What is made of the sound. channels: mix, left, right or split; follows_clock: stretched to the timestamps."""

    channels: str = "mix"
    gain_db: float = 0.0
    follows_clock: bool = False


class _Shape(NamedTuple):
    """What a filter has to know of its frames."""

    sample_format: str
    layout: str
    channels: int
    rate: int


class Resampler:
    """Resamples frames of one stream. layout: of its output, 'mono' or that of the stream; its channels are interleaved.

    The graph is built here, not by AudioResampler, because that one starts threads and refuses a stream
    that changes its format on the way.
    """

    def __init__(self, treatment: Treatment, layout: AudioLayout) -> None:
        self._treatment = treatment
        self._layout = layout
        self._graph: Graph | None = None
        self._shape: _Shape | None = None
        self._origin: float | None = None
        self.unusable_frames = 0

    def resample(self, frame: AudioFrame) -> list[bytes]:
        """PCM that is ready now. A frame that the filter refuses is counted and left out."""
        layout = frame.layout
        shape = _Shape(frame.format.name, layout.name, layout.nb_channels, frame.sample_rate)
        output: list[bytes] = []
        try:
            if shape != self._shape:
                output = self.flush()
                self._graph, self._shape = _build_graph(shape, self._treatment, self._layout), shape
            self._set_time(frame)
            return output + self._push(frame)
        except av.error.MemoryError:
            raise MemoryError from None
        except (av.error.FFmpegError, ValueError):
            self.unusable_frames += 1
            return output

    def flush(self) -> list[bytes]:
        """What the filter still holds."""
        output = self._push(None)
        self._graph, self._shape, self._origin = None, None, None
        return output

    def _set_time(self, frame: AudioFrame) -> None:
        """Samples are counted, unless the clock is to be followed."""
        time = frame.time if self._treatment.follows_clock else None
        if time is None:
            frame.pts = None
            return
        self._origin = time if self._origin is None else self._origin
        frame.pts = round((time - self._origin) * frame.sample_rate)
        frame.time_base = Fraction(1, frame.sample_rate)

    def _push(self, frame: AudioFrame | None) -> list[bytes]:
        pieces: list[bytes] = []
        if self._graph is None:
            return pieces
        self._graph.push(frame)
        while True:
            try:
                output = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return pieces
            if isinstance(output, AudioFrame):
                size = output.samples * SAMPLE_BYTES * self._layout.nb_channels
                pieces.append(bytes(output.planes[0])[:size])


def _build_graph(shape: _Shape, treatment: Treatment, layout: AudioLayout) -> Graph:
    """The filter for frames of this shape. More channels than FFmpeg has a rule for are averaged."""
    try:
        return _link_graph(shape, treatment, layout, _pan(shape, treatment))
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        every = range(shape.channels)
        average = "+".join(f"{1 / len(every)}*c{n}" for n in every)
        return _link_graph(shape, treatment, layout, "mono|c0=" + average)


def _pan(shape: _Shape, treatment: Treatment) -> str | None:
    """How channels are chosen; in a stream of one channel it is that one."""
    return _PICKED.get(treatment.channels) if shape.channels > 1 else None


def _link_graph(shape: _Shape, treatment: Treatment, layout: AudioLayout, pan: str | None) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_fmt=shape.sample_format,
        channel_layout=shape.layout,
        sample_rate=str(shape.rate),
        time_base=f"1/{shape.rate}",
    )
    filters = [graph.add("pan", pan)] if pan else []
    if treatment.gain_db:
        filters.append(graph.add("volume", f"volume={treatment.gain_db}dB:precision=float"))
    if treatment.follows_clock:
        filters.append(
            graph.add("aresample", f"{SAMPLE_RATE}:async={_STRETCH_SAMPLES}:min_hard_comp={_HARD_SECONDS}")
        )
    output = graph.add(
        "aformat", sample_fmts="s16", channel_layouts=layout.name, sample_rates=str(SAMPLE_RATE)
    )
    graph.link_nodes(source, *filters, output, graph.add("abuffersink")).configure()
    return graph
