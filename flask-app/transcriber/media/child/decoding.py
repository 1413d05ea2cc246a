"""Decoding itself, by PyAV in a confined child: an open file in, PCM out.

This is the only module that names PyAV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Discard, Disposition

from transcriber.domain.ports import SAMPLE_BYTES, SAMPLE_RATE

from .containers import ACCEPTED, DECLARES_LENGTH
from .headers import is_streamed_wav, missing_mp3_bytes
from .pcm import PcmSink
from .refusal import MediaRefusedError
from .timeline import Timeline

Message = dict[str, Any]

_MICROSECONDS = 1_000_000
#: PyAV 18 refuses a file whose tags are not UTF-8, unless it is told to replace what it can't read. PyAV 19 keeps
#: their bytes and no longer knows the argument.
_TAG_ARGUMENTS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)
#: FFmpeg's AVFMT_TS_DISCONT: clocks of this format may leap, so its length proves nothing.
_LEAPING_CLOCK = 0x0200
#: A file that ends earlier than it says by more than this many seconds, and this share, was cut off.
_SHORTFALL_SECONDS = 0.5
_SHORTFALL_SHARE = 0.02
#: An MP3 that lacks more than this many of its bytes was cut off; tags at the end are counted by some writers.
_MISSING_MP3_BYTES = 4096


@dataclass(slots=True)
class _Damage:
    """What went wrong on the way without ending it."""

    bad_packets: int = 0
    last_packet_bad: bool = False
    reading_failed: bool = False


@dataclass(slots=True)
class _Decoding:
    """One file on its way through: facts for the final message."""

    container: InputContainer
    stream: AudioStream
    streamed: bool
    missing_mp3_bytes: int
    damage: _Damage = field(default_factory=_Damage)
    sample_rate: int = 0
    channels: int = 0


def audio_codecs() -> str:
    """All audio decoders, as FFmpeg's codec_whitelist: a picture is never decoded, not even to look at it."""
    names = {name for name in av.codecs_available if _is_audio_decoder(name)}
    return ",".join(sorted(names))


def decode_media(source: BinaryIO, sink: PcmSink, codecs: str, on_progress: Callable[[int], None]) -> Message:
    """Decode the audio of `source` into `sink`; returns the facts.

    Raises MediaRefusedError, MemoryError.
    """
    streamed = is_streamed_wav(source)
    missing = missing_mp3_bytes(source)
    source.seek(0)
    with _open_media(source, codecs) as container:
        decoding = _Decoding(container, _choose_stream(container), streamed, missing)
        timeline = _build_timeline(container)
        resampler = _Resampler()
        for frame in _iter_frames(decoding):
            silence = timeline.silence_before(frame.time, sink.samples)
            if silence:
                sink.silence(silence)
            for pcm in resampler.resample(frame):
                sink.write(pcm)
            on_progress(sink.samples)
        for pcm in resampler.flush():
            sink.write(pcm)
        decoding.damage.bad_packets += resampler.unusable_frames
        if not sink.samples:
            raise MediaRefusedError("nothing_decoded" if decoding.damage.bad_packets else "no_samples")
        sink.finish()
        return _describe(decoding, timeline, sink)


def _is_audio_decoder(name: str) -> bool:
    try:
        return av.Codec(name, "r").type == "audio"
    except ValueError:  # an encoder
        return False


def _open_media(source: BinaryIO, codecs: str) -> InputContainer:
    """The container, if it is of an accepted format and refers to nothing outside of itself."""
    options = {
        "format_whitelist": ACCEPTED,
        "protocol_whitelist": "none",
        "codec_whitelist": codecs,
        "enable_drefs": "0",
        "use_absolute_path": "0",
        "threads": "1",
    }
    try:
        container: InputContainer = av.open(
            source, mode="r", options=options, io_open=_refuse_reference, **_TAG_ARGUMENTS
        )
    except av.error.MemoryError:
        raise MemoryError from None
    except (av.error.FFmpegError, ValueError):
        raise MediaRefusedError("unrecognised") from None
    return container


def _refuse_reference(url: str, flags: int, options: dict[str, str]) -> None:
    """FFmpeg asks here for every further file a format names; it gets none."""
    raise MediaRefusedError("unrecognised")


def _choose_stream(container: InputContainer) -> AudioStream:
    """The audio stream marked as default, else the first; only those that can be decoded. Others are skipped."""
    candidates = [stream for stream in container.streams if stream.type == "audio"]
    if not candidates:
        raise MediaRefusedError("no_audio_stream")
    decodable = [s for s in candidates if isinstance(s, AudioStream) and s.codec_context is not None]
    if not decodable:
        raise MediaRefusedError("unknown_codec")
    chosen = next((s for s in decodable if s.disposition & Disposition.default), decodable[0])
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.codec_context.thread_count = 1
    return chosen


def _build_timeline(container: InputContainer) -> Timeline:
    start, duration = container.start_time, container.duration
    origin = (start or 0) / _MICROSECONDS
    leaps = container.format.flags & _LEAPING_CLOCK
    declared = duration and not leaps and container.format.name in DECLARES_LENGTH
    end = origin + duration / _MICROSECONDS + 1 if declared and duration else None
    return Timeline(origin=origin, declared_end=end)


def _iter_frames(decoding: _Decoding) -> Iterator[AudioFrame]:
    """Frames in order. A damaged packet is counted and left out."""
    damage = decoding.damage
    for packet in _iter_packets(decoding):
        try:
            frames = decoding.stream.decode(packet)
        except av.error.MemoryError:
            raise MemoryError from None
        except av.error.FFmpegError:
            damage.bad_packets += 1
            damage.last_packet_bad = True
            continue
        if packet is not None and packet.size:
            damage.last_packet_bad = packet.is_corrupt
        for frame in frames:
            damage.bad_packets += frame.is_corrupt
            decoding.sample_rate = decoding.sample_rate or frame.sample_rate
            decoding.channels = decoding.channels or frame.layout.nb_channels
            yield frame


def _iter_packets(decoding: _Decoding) -> Iterator[Packet[AudioStream] | None]:
    """Packets in order, then one that flushes the codec. A broken container ends the file there."""
    try:
        yield from decoding.container.demux(decoding.stream)
    except av.error.MemoryError:
        raise MemoryError from None
    except av.error.FFmpegError:
        decoding.damage.reading_failed = True
        yield None


class _Shape(NamedTuple):
    """What a filter has to know of its frames."""

    sample_format: str
    layout: str
    channels: int
    rate: int


class _Resampler:
    """Frames of any rate, layout and sample format to 16 kHz mono int16; channels are mixed down.

    The graph is built here, not by AudioResampler, because that one starts threads and refuses a stream
    that changes its format on the way.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: _Shape | None = None
        self.unusable_frames = 0

    def resample(self, frame: AudioFrame) -> list[bytes]:
        """PCM that is ready now. A frame that the filter refuses is counted and left out."""
        layout = frame.layout
        shape = _Shape(frame.format.name, layout.name, layout.nb_channels, frame.sample_rate)
        output: list[bytes] = []
        try:
            if shape != self._shape:
                output = self.flush()
                self._graph, self._shape = _build_graph(shape), shape
            frame.pts = None
            return output + self._push(frame)
        except av.error.MemoryError:
            raise MemoryError from None
        except (av.error.FFmpegError, ValueError):
            self.unusable_frames += 1
            return output

    def flush(self) -> list[bytes]:
        """What the filter still holds."""
        output = self._push(None)
        self._graph, self._shape = None, None
        return output

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
                pieces.append(bytes(output.planes[0])[: output.samples * SAMPLE_BYTES])


def _build_graph(shape: _Shape) -> Graph:
    """The filter for frames of this shape. More channels than FFmpeg has a rule for are averaged."""
    try:
        return _link_graph(shape)
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        channels = range(shape.channels)
        return _link_graph(shape, "mono|c0=" + "+".join(f"{1 / len(channels)}*c{n}" for n in channels))


def _link_graph(shape: _Shape, pan: str | None = None) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_fmt=shape.sample_format,
        channel_layout=shape.layout,
        sample_rate=str(shape.rate),
        time_base=f"1/{shape.rate}",
    )
    mixing = [graph.add("pan", pan)] if pan else []
    output = graph.add("aformat", sample_fmts="s16", channel_layouts="mono", sample_rates=str(SAMPLE_RATE))
    graph.link_nodes(source, *mixing, output, graph.add("abuffersink")).configure()
    return graph


def _describe(decoding: _Decoding, timeline: Timeline, sink: PcmSink) -> Message:
    notices = []
    if _is_cut_off(decoding, sink.samples):
        notices.append("truncated_audio")
    elif decoding.damage.bad_packets:
        notices.append("damaged_audio")
    if timeline.jumps:
        notices.append("timestamp_jump")
    container, stream = decoding.container, decoding.stream
    return {
        "samples": sink.samples,
        "container": container.format.name,
        "codec": stream.codec_context.name,
        "channels": decoding.channels,
        "sample_rate": decoding.sample_rate,
        "audio_streams": sum(s.type == "audio" for s in container.streams),
        "stream_index": stream.index,
        "notices": notices,
        "peaks": sink.peaks.to_text(),
    }


def _is_cut_off(decoding: _Decoding, samples: int) -> bool:
    """Whether the file ends before it says it does, or in the middle of a packet."""
    if decoding.streamed:
        return False
    if decoding.damage.reading_failed or decoding.damage.last_packet_bad:
        return True
    if decoding.missing_mp3_bytes > _MISSING_MP3_BYTES and decoding.container.format.name == "mp3":
        return True
    declared = _declared_seconds(decoding)
    shortfall = declared - samples / SAMPLE_RATE
    return shortfall > max(_SHORTFALL_SECONDS, declared * _SHORTFALL_SHARE)


def _declared_seconds(decoding: _Decoding) -> float:
    """The length of the stream by its header; 0 where the header does not know, or its word is no proof."""
    container, stream = decoding.container, decoding.stream
    if container.format.name not in DECLARES_LENGTH:
        return 0.0
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    sounds_alone = all(s.type == "audio" for s in container.streams)
    return (container.duration or 0) / _MICROSECONDS if sounds_alone else 0.0
