"""Makes media files of every kind for tests, with PyAV's own encoders."""

from __future__ import annotations

import io
import math
import struct
import wave
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

JFK = Path(__file__).parents[1] / "data" / "jfk.flac"
RATE = 16_000

#: No random identifiers: the same sound gives the same file.
_BIT_EXACT = {"fflags": "+bitexact"}

#: FLAC's code for a rate in a frame header.
_FLAC_RATES = {16_000: 5, 192_000: 3}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How to write a file: FFmpeg's muxer and encoder, rate, layout, and how true the sound stays."""

    name: str
    muxer: str
    codec: str
    rate: int = 44_100
    layout: str = "stereo"
    #: Least correlation of the decoded sound with the original.
    correlation: float = 0.99
    video: bool = False


#: The same speech in all the wrappings that people send.
ENCODINGS = (
    Encoding(name="wav", muxer="wav", codec="pcm_s16le"),
    Encoding(name="wav-24bit-96k", muxer="wav", codec="pcm_s24le", rate=96_000),
    Encoding(name="wav-float", muxer="wav", codec="pcm_f32le", rate=48_000),
    Encoding(name="wav-8k-mono", muxer="wav", codec="pcm_s16le", rate=8_000, layout="mono", correlation=0.9),
    Encoding(name="wav-alaw", muxer="wav", codec="pcm_alaw", rate=8_000, layout="mono", correlation=0.9),
    Encoding(name="wav-5.1", muxer="wav", codec="pcm_s16le", rate=48_000, layout="5.1"),
    Encoding(name="w64", muxer="w64", codec="pcm_s16le"),
    Encoding(name="mp3", muxer="mp3", codec="libmp3lame"),
    Encoding(name="m4a", muxer="ipod", codec="aac"),
    Encoding(name="aac", muxer="adts", codec="aac", correlation=0.97),
    Encoding(name="flac", muxer="flac", codec="flac"),
    Encoding(name="flac-5.1", muxer="flac", codec="flac", rate=48_000, layout="5.1"),
    Encoding(name="ogg-vorbis", muxer="ogg", codec="vorbis", correlation=0.97),
    Encoding(name="opus", muxer="ogg", codec="libopus", rate=48_000, correlation=0.95),
    Encoding(name="webm", muxer="webm", codec="libopus", rate=48_000, correlation=0.95),
    Encoding(name="webm-video", muxer="webm", codec="libopus", rate=48_000, correlation=0.95, video=True),
    Encoding(name="mp4-video", muxer="mp4", codec="aac", video=True),
    Encoding(name="mov-video", muxer="mov", codec="pcm_s16le", video=True),
    Encoding(name="mkv", muxer="matroska", codec="flac"),
    Encoding(name="mkv-5.1-ac3", muxer="matroska", codec="ac3", rate=48_000, layout="5.1", correlation=0.97),
    Encoding(name="wma", muxer="asf", codec="wmav2"),
    Encoding(name="amr", muxer="amr", codec="libopencore_amrnb", rate=8_000, layout="mono", correlation=0.8),
    Encoding(name="aiff", muxer="aiff", codec="pcm_s16be"),
    Encoding(name="caf", muxer="caf", codec="alac"),
    Encoding(name="ac3", muxer="ac3", codec="ac3", rate=48_000),
    Encoding(name="mpegts", muxer="mpegts", codec="aac", rate=48_000),
    Encoding(name="avi", muxer="avi", codec="libmp3lame", video=True),
    Encoding(name="au", muxer="au", codec="pcm_s16be"),
    Encoding(name="wavpack", muxer="wv", codec="wavpack"),
)


def can_encode(encoding: Encoding) -> bool:
    """Whether this PyAV has the encoder and the muxer."""
    try:
        av.Codec(encoding.codec, "w")
    except ValueError:
        return False
    return encoding.muxer in av.formats_available


def read_pcm(path: Path, seconds: float | None = None) -> array[int]:
    """A file as 16 kHz mono int16, through PyAV in this process. For files we made ourselves."""
    samples = array("h")
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        for frame in [*container.decode(audio=0), None]:
            for output in resampler.resample(frame):
                samples.frombytes(bytes(output.planes[0])[: output.samples * 2])
    return samples if seconds is None else samples[: int(seconds * RATE)]


def encode(path: Path, samples: Sequence[int], encoding: Encoding) -> Path:
    """Write these 16 kHz mono samples as the file `path`."""
    with av.open(str(path), "w", format=encoding.muxer, options=_BIT_EXACT) as container:
        picture = (
            _add_picture(container, "libvpx" if encoding.muxer == "webm" else "mpeg4")
            if encoding.video
            else None
        )
        stream = add_audio(container, encoding)
        if picture is not None:
            mux_picture(container, picture, len(samples) / RATE)
        mux_audio(container, stream, samples, encoding)
    return path


def encode_tracks(
    path: Path,
    tracks: Sequence[Sequence[int]],
    *,
    default: int | None,
    starts: Sequence[float] = (),
    muxer: str = "matroska",
) -> Path:
    """A video with several audio tracks, each from its start second on; `default` is the one so marked."""
    encoding = Encoding(name="track", muxer=muxer, codec="aac", rate=48_000, layout="mono", video=True)
    with av.open(str(path), "w", format=muxer) as container:
        picture = _add_picture(container, "mpeg4")
        streams = [add_audio(container, encoding) for _ in tracks]
        for index, stream in enumerate(streams):
            stream.disposition = Disposition.default if index == default else Disposition(0)
        mux_picture(container, picture, max(map(len, tracks)) / RATE)
        for index, (stream, samples) in enumerate(zip(streams, tracks, strict=True)):
            mux_audio(container, stream, samples, encoding, starts[index] if starts else 0.0)
    return path


def encode_picture_only(path: Path) -> Path:
    """A video without sound."""
    with av.open(str(path), "w", format="mp4") as container:
        mux_picture(container, _add_picture(container, "mpeg4"), 1.0)
    return path


def add_audio(container: OutputContainer, encoding: Encoding) -> AudioStream:
    stream = container.add_stream(encoding.codec, rate=encoding.rate, layout=encoding.layout)
    if not isinstance(stream, AudioStream):
        raise TypeError(f"{encoding.codec} is not an audio codec")
    if encoding.codec == "vorbis":  # FFmpeg's own encoder calls itself experimental
        stream.codec_context.options = {"strict": "experimental"}
    if encoding.codec == "wmav2":
        stream.bit_rate = 128_000
    if encoding.codec == "libopencore_amrnb":
        stream.bit_rate = 12_200
    stream.codec_context.open()
    return stream


def mux_audio(
    container: OutputContainer,
    stream: AudioStream,
    samples: Sequence[int],
    encoding: Encoding,
    start: float = 0.0,
) -> None:
    """Encode samples into a stream of an open container, from `start` seconds on."""
    context = stream.codec_context
    resampler = AudioResampler(
        format=context.format,
        layout=encoding.layout,
        rate=encoding.rate,
        frame_size=context.frame_size or 1024,
    )
    offset = round(start * encoding.rate)
    for frame in [*_iter_frames(samples), None]:
        for output in resampler.resample(frame):
            output.pts = None if output.pts is None else output.pts + offset
            container.mux(stream.encode(output))
    container.mux(stream.encode(None))


def mux_picture(container: OutputContainer, picture: VideoStream, seconds: float) -> None:
    """Black frames, ten a second."""
    for _ in range(int(seconds * 10) + 1):
        container.mux(picture.encode(_black(picture.width, picture.height)))
    container.mux(picture.encode(None))


def _add_picture(container: OutputContainer, codec: str) -> VideoStream:
    picture = container.add_stream(codec, rate=10)
    if not isinstance(picture, VideoStream):
        raise TypeError(f"{codec} is not a video codec")
    picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
    picture.codec_context.open()
    return picture


def make_wave(samples: Sequence[int], rate: int = RATE) -> bytes:
    """A plain WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(array("h", samples).tobytes())
    return buffer.getvalue()


def make_tone(seconds: float, frequency: float = 440.0) -> array[int]:
    step = 2 * math.pi * frequency / RATE
    return array("h", (round(12_000 * math.sin(step * i)) for i in range(int(seconds * RATE))))


def make_silent_flac(hours: float, rate: int = RATE) -> bytes:
    """A tiny FLAC that decodes to hours of silence (ten hours: 140 kB): constant blocks, written by hand."""
    block = 65_535
    frames = int(hours * 3600 * rate / block)
    total = frames * block
    rate_channels_bits = rate << 44 | 0 << 41 | 15 << 36 | total
    info = struct.pack(">HH", block, block) + bytes(6) + rate_channels_bits.to_bytes(8, "big") + bytes(16)
    parts = [b"fLaC", b"\x80" + len(info).to_bytes(3, "big"), info]
    for number in range(frames):
        # sync and fixed blocks; block size in 16 bits, rate; mono, 16 bits; the number; the size
        header = (
            bytes([0xFF, 0xF8, 0x70 | _FLAC_RATES[rate], 0x08])
            + chr(number).encode("utf-8", "surrogatepass")
            + struct.pack(">H", block - 1)
        )
        frame = header + bytes([_crc(header, 8, 0x07)]) + b"\x00\x00\x00"
        parts.append(frame + _crc(frame, 16, 0x8005).to_bytes(2, "big"))
    return b"".join(parts)


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) & 1 else 0)
            value &= (1 << bits) - 1
    return value


def correlate(one: Sequence[int], other: Sequence[int], shift: int = 1600) -> float:
    """The largest normalised correlation of two signals, one of them moved by up to `shift` samples."""
    import numpy

    a = numpy.asarray(one, dtype=numpy.float64)
    b = numpy.asarray(other, dtype=numpy.float64)
    size = 1 << (len(a) + len(b)).bit_length()
    product = numpy.fft.irfft(numpy.fft.rfft(a, size) * numpy.conj(numpy.fft.rfft(b, size)), size)
    near = numpy.concatenate((product[: shift + 1], product[-shift:]))
    return float(near.max() / (numpy.linalg.norm(a) * numpy.linalg.norm(b)))


def _iter_frames(samples: Sequence[int]) -> Iterator[AudioFrame]:
    size = 1024
    data = array("h", samples)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        frame = AudioFrame(format="s16", layout="mono", samples=len(piece))
        frame.planes[0].update(piece.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame


def _black(width: int, height: int) -> VideoFrame:
    frame = VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame
