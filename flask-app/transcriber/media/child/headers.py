"""What the bytes of a file say about its length and its parts, where FFmpeg keeps it to itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: WAV lengths from here on, and 0, are what programs write that stream and can't know the length.
_STREAMED_WAV_BYTES = 0x7FF00000
_RIFF_KINDS = (b"RIFF", b"RF64", b"RIFX")
_CHUNK_HEADER_BYTES = 8
_FIRST_CHUNK = 12
#: A WAV file has a handful of chunks before its sound.
_MOST_CHUNKS = 100

_HEADER_BYTES = 4096
_ID3_HEADER_BYTES = 10
_XING_FRAMES, _XING_BYTES = 1, 2

_OGG_HEADER_BYTES = 27
_OGG_BEGINS = 2
#: More links than any recording has; what follows is left to FFmpeg.
_MOST_LINKS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class WavLength:
    """Bytes of sound that a WAV file lacks, of those that its header counts. is_open: its writer could not count them."""

    declared: int
    missing: int
    is_open: bool


def wav_length(source: BinaryIO) -> WavLength | None:
    """None: no WAV file, or one without sound."""
    header = _read(source, 0, _FIRST_CHUNK)
    if header[:4] not in _RIFF_KINDS or header[8:12] != b"WAVE":
        return None
    order = "big" if header[:4] == b"RIFX" else "little"
    end = source.seek(0, os.SEEK_END)
    place = _FIRST_CHUNK
    for _ in range(_MOST_CHUNKS):
        chunk = _read(source, place, _CHUNK_HEADER_BYTES)
        if len(chunk) < _CHUNK_HEADER_BYTES:
            return None
        size = int.from_bytes(chunk[4:8], "big" if order == "big" else "little")
        if chunk[:4] == b"data":
            is_open = size == 0 or size >= _STREAMED_WAV_BYTES
            there = end - place - _CHUNK_HEADER_BYTES
            return WavLength(declared=size, missing=0 if is_open else max(0, size - there), is_open=is_open)
        place += _CHUNK_HEADER_BYTES + size + size % 2
    return None


def missing_mp3_bytes(source: BinaryIO) -> int:
    """How many bytes an MP3 lacks by the count in its Xing or Info header; 0 if it has none, or lacks none."""
    start = _id3_bytes(_read(source, 0))
    header = _read(source, start)
    place = max(header.find(b"Xing", 0, 256), header.find(b"Info", 0, 256))
    if place < 0 or header[0] != 0xFF:
        return 0
    flags = int.from_bytes(header[place + 4 : place + 8], "big")
    if not flags & _XING_BYTES:
        return 0
    count = place + 8 + (4 if flags & _XING_FRAMES else 0)
    declared = int.from_bytes(header[count : count + 4], "big")
    return max(0, declared - (source.seek(0, os.SEEK_END) - start))


def ogg_links(source: BinaryIO) -> list[tuple[int, int]]:
    """(start, end) in bytes of each link of a chained Ogg file; empty for a file of one link, or of another kind.

    FFmpeg gives up at a link with another number of channels or another rate.
    """
    starts = [0]
    end = source.seek(0, os.SEEK_END)
    is_among_headers = True
    for place, flags in _iter_ogg_pages(source):
        begins = bool(flags & _OGG_BEGINS)
        if begins and not is_among_headers:
            starts.append(place)
            if len(starts) > _MOST_LINKS:
                return []
        is_among_headers = begins
    return list(zip(starts, [*starts[1:], end], strict=True)) if len(starts) > 1 else []


def _iter_ogg_pages(source: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where each page begins, and its flags; ends where there is no page."""
    place = 0
    while True:
        header = _read(source, place, _OGG_HEADER_BYTES + 255)
        if len(header) < _OGG_HEADER_BYTES or header[:4] != b"OggS":
            return
        yield place, header[5]
        table = header[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + header[26]]
        place += _OGG_HEADER_BYTES + header[26] + sum(table)


def _id3_bytes(header: bytes) -> int:
    """The size of the tag before the sound."""
    if header[:3] != b"ID3" or len(header) < _ID3_HEADER_BYTES:
        return 0
    size = 0
    for byte in header[6:10]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER_BYTES + size


def _read(source: BinaryIO, place: int, count: int = _HEADER_BYTES) -> bytes:
    source.seek(place)
    return source.read(count)
