"""Decoding itself, by PyAV in a confined child: an open file in, PCM out.

A file is decoded in passes. What the first one finds - a silent track, channels that cancel each other out, quiet sound,
a clock that runs otherwise than the samples - the next one does better; nearly all files need one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from transcriber.domain.options import MOST_CHANNELS, AudioSelection
from transcriber.domain.ports import SAMPLE_RATE

from .balance import Balance
from .containers import ACCEPTED, DECLARES_LENGTH, TRUE_CLOCK
from .headers import WavLength, missing_mp3_bytes, ogg_links, wav_length
from .pcm import PcmSink
from .refusal import MediaRefusedError
from .resampling import Resampler, Treatment
from .section import section
from .timeline import Timeline
from .tracks import choose_track, describe_tracks, discard_others, rank_tracks

Message = dict[str, Any]

_MICROSECONDS = 1_000_000
#: PyAV 18 refuses a file whose tags are not UTF-8, unless it is asked to replace what it can't read. PyAV 19 keeps
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

#: Sound below this level is silence, or so quiet that another track is looked at first.
_SILENT = 10 ** (-50 / 20)
#: Sound below the first level is raised to the second; what is no more than the noise of 16 bits stays what it is.
_QUIET, _USUAL_LEVEL, _NOISE_OF_16_BITS = 10 ** (-26 / 20), 10 ** (-12 / 20), 4 / 32768

#: Tracks that are described.
_MOST_TRACKS_TOLD = 32

#: Tracks that are listened to before the first is taken.
_MOST_TRACKS = 8


@dataclass(slots=True)
class _Damage:
    """What went wrong on the way without ending it."""

    bad_packets: int = 0
    last_packet_bad: bool = False
    reading_failed: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """The file, in the parts that are opened one by one, and what its header says."""

    parts: tuple[BinaryIO, ...]
    wav: WavLength | None
    missing_mp3_bytes: int


@dataclass(slots=True)
class _Decoding:
    """One pass through the file: facts for the final message."""

    source: _Source
    track: int
    treatment: Treatment
    damage: _Damage = field(default_factory=_Damage)
    balance: Balance = field(default_factory=Balance)
    resampler: Resampler | None = None
    container: str = ""
    codec: str = ""
    stream_index: int = 0
    sample_rate: int = 0
    channels: int = 0
    declared_seconds: float = 0.0
    jumps: int = 0
    drifts: bool = False
    tracks: list[Message] = field(default_factory=list)
    ranking: list[int] = field(default_factory=list)


def audio_codecs() -> str:
    """All audio decoders, as FFmpeg's codec_whitelist: a picture is never decoded, not even to look at it."""
    names = {name for name in av.codecs_available if _is_audio_decoder(name)}
    return ",".join(sorted(names))


def decode_media(
    source: BinaryIO,
    sink: PcmSink,
    codecs: str,
    on_progress: Callable[[int], None],
    selection: AudioSelection | None = None,
) -> Message:
    """Decode the audio of `source` into `sink`; returns the facts.

    Raises MediaRefusedError, MemoryError.
    """
    wish = selection or AudioSelection()
    links = ogg_links(source)
    whole = _Source(
        parts=tuple(section(source, start, end) for start, end in links) or (source,),
        wav=wav_length(source),
        missing_mp3_bytes=missing_mp3_bytes(source),
    )
    source.seek(0)
    notices: list[str] = []

    def decode(track: int | None, treatment: Treatment) -> _Decoding:
        return _decode_once(whole, sink, codecs, on_progress, track, treatment)

    decoding = decode(wish.audio_track, Treatment(channels=wish.channels))
    if wish.audio_track is None and sink.peaks.level() < _SILENT:
        decoding = _listen_to_others(decoding, sink, decode, notices)
    better = _better(decoding, sink, notices)
    if better != decoding.treatment:
        sink.restart(1)
        decoding = decode(decoding.track, better)
    if not sink.samples:
        raise MediaRefusedError("nothing_decoded" if decoding.damage.bad_packets else "no_samples")
    sink.finish()
    return _describe(decoding, sink, notices)


def _listen_to_others(
    first: _Decoding, sink: PcmSink, decode: Callable[[int, Treatment], _Decoding], notices: list[str]
) -> _Decoding:
    """The track is silent: another one that speaks, else it all the same."""
    others = [track for track in first.ranking if track != first.track][: _MOST_TRACKS - 1]
    for track in others:
        sink.restart(1)
        found = decode(track, first.treatment)
        if sink.peaks.level() >= _SILENT:
            notices.append("silent_track")
            return found
    if others:
        sink.restart(1)
        return decode(first.track, first.treatment)
    return first


def _better(decoding: _Decoding, sink: PcmSink, notices: list[str]) -> Treatment:
    """How the sound should have been treated, now that it is known."""
    treatment, level = decoding.treatment, sink.peaks.level()
    if treatment.channels == "mix" and decoding.balance.is_cancelled:
        notices.append("cancelled_channels")
        treatment = replace(treatment, channels=decoding.balance.louder_channel)
        # What the mix leaves of it says nothing about how loud it is.
        level = decoding.balance.louder_level
    if decoding.drifts and decoding.container in TRUE_CLOCK:
        treatment = replace(treatment, follows_clock=True)
    if _NOISE_OF_16_BITS <= level < _QUIET:
        treatment = replace(treatment, gain_db=round(_decibels(_USUAL_LEVEL / level), 1))
    return treatment


def _decibels(factor: float) -> float:
    return 20 * math.log10(factor)


def _decode_once(
    source: _Source,
    sink: PcmSink,
    codecs: str,
    on_progress: Callable[[int], None],
    track: int | None,
    treatment: Treatment,
) -> _Decoding:
    decoding = _Decoding(source, -1 if track is None else track, treatment)
    for part in source.parts:
        part.seek(0)
        with _open_media(part, codecs) as container:
            _decode_part(container, decoding, sink, on_progress)
    if decoding.resampler is not None:
        decoding.damage.bad_packets += decoding.resampler.unusable_frames
    return decoding


def _decode_part(
    container: InputContainer, decoding: _Decoding, sink: PcmSink, on_progress: Callable[[int], None]
) -> None:
    """A file, or a link of one; its clock begins where the part before ended."""
    stream = _open_track(container, decoding)
    timeline = _build_timeline(container)
    begun = sink.samples
    for frame in _iter_frames(container, stream, decoding):
        if decoding.resampler is None:
            decoding.resampler = _begin(decoding, sink, frame)
        resampler = decoding.resampler
        silence = timeline.silence_before(frame.time, sink.samples - begun)
        if silence:
            for pcm in resampler.flush():
                sink.write(pcm)
            sink.silence(silence)
        decoding.balance.add(frame)
        for pcm in resampler.resample(frame):
            sink.write(pcm)
        on_progress(sink.samples)
    for pcm in decoding.resampler.flush() if decoding.resampler is not None else ():
        sink.write(pcm)
    decoding.jumps += timeline.jumps
    decoding.drifts |= timeline.drifts
    decoding.declared_seconds += _declared_seconds(container, stream)


def _open_track(container: InputContainer, decoding: _Decoding) -> AudioStream:
    """The track to decode; what the first part of a file says is said of the file."""
    stream = choose_track(container, decoding.track)
    if not decoding.container:
        decoding.container = container.format.name
        decoding.codec = stream.codec_context.name
        decoding.stream_index = stream.index
        decoding.ranking = rank_tracks(container)
        decoding.tracks = describe_tracks(container)
        decoding.track = next(
            number for number, one in enumerate(container.streams.audio) if one.index == stream.index
        )
    discard_others(container, stream)
    return stream


def _begin(decoding: _Decoding, sink: PcmSink, frame: AudioFrame) -> Resampler:
    """The first frame says how many channels there are."""
    decoding.sample_rate, decoding.channels = frame.sample_rate, frame.layout.nb_channels
    is_split = decoding.treatment.channels == "split" and 1 < decoding.channels <= MOST_CHANNELS
    layout = frame.layout if is_split else AudioLayout("mono")
    sink.restart(layout.nb_channels)
    return Resampler(decoding.treatment, layout)


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


def _build_timeline(container: InputContainer) -> Timeline:
    start, duration = container.start_time, container.duration
    origin = (start or 0) / _MICROSECONDS
    leaps = container.format.flags & _LEAPING_CLOCK
    declared = duration and not leaps and container.format.name in DECLARES_LENGTH
    end = origin + duration / _MICROSECONDS + 1 if declared and duration else None
    return Timeline(
        origin=origin,
        declared_end=end,
        is_live=not duration and not leaps and container.format.name in TRUE_CLOCK,
    )


def _iter_frames(container: InputContainer, stream: AudioStream, decoding: _Decoding) -> Iterator[AudioFrame]:
    """Frames in order. A damaged packet is counted and left out."""
    damage = decoding.damage
    for packet in _iter_packets(container, stream, damage):
        try:
            frames = stream.decode(packet)
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
            yield frame


def _iter_packets(
    container: InputContainer, stream: AudioStream, damage: _Damage
) -> Iterator[Packet[AudioStream] | None]:
    """Packets in order, then one that flushes the codec. A broken container ends the file there."""
    try:
        yield from container.demux(stream)
    except av.error.MemoryError:
        raise MemoryError from None
    except av.error.FFmpegError:
        damage.reading_failed = True
        yield None


def _describe(decoding: _Decoding, sink: PcmSink, notices: Sequence[str]) -> Message:
    found = list(notices)
    if _is_cut_off(decoding, sink.samples):
        found.append("truncated_audio")
    elif decoding.damage.bad_packets:
        found.append("damaged_audio")
    if decoding.channels == 1 and decoding.treatment.channels != "mix":
        found.append("one_channel")
    if decoding.jumps:
        found.append("timestamp_jump")
    treatment = decoding.treatment
    for number, track in enumerate(decoding.tracks):
        track["is_used"] = number == decoding.track
    return {
        "samples": sink.samples,
        "pcm_channels": sink.channels,
        "container": decoding.container,
        "codec": decoding.codec,
        "channels": decoding.channels,
        "channels_used": "mix" if decoding.channels == 1 else treatment.channels,
        "sample_rate": decoding.sample_rate,
        "audio_streams": len(decoding.tracks),
        "stream_index": decoding.stream_index,
        "tracks": decoding.tracks[:_MOST_TRACKS_TOLD],
        "gain_db": treatment.gain_db,
        "notices": found,
        "peaks": sink.peaks.to_text(),
    }


def _is_cut_off(decoding: _Decoding, samples: int) -> bool:
    """Whether the file ends before it says it does, or in the middle of a packet."""
    wav = decoding.source.wav
    if wav is not None and wav.is_open:
        return False
    if decoding.damage.reading_failed or decoding.damage.last_packet_bad:
        return True
    if decoding.source.missing_mp3_bytes > _MISSING_MP3_BYTES and decoding.container == "mp3":
        return True
    if wav is not None and decoding.container == "wav":
        there = wav.declared - wav.missing
        declared = samples / SAMPLE_RATE * wav.declared / there if there else 0.0
    else:
        declared = decoding.declared_seconds
    shortfall = declared - samples / SAMPLE_RATE
    return shortfall > max(_SHORTFALL_SECONDS, declared * _SHORTFALL_SHARE)


def _declared_seconds(container: InputContainer, stream: AudioStream) -> float:
    """The length of the stream by its header; 0 where the header does not know, or its word is no proof.

    Matroska counts it from the zero of a clock that may begin later.
    """
    if container.format.name not in DECLARES_LENGTH:
        return 0.0
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    sounds_alone = all(s.type == "audio" for s in container.streams)
    late = max(0, container.start_time or 0)
    return max(0, (container.duration or 0) - late) / _MICROSECONDS if sounds_alone else 0.0
