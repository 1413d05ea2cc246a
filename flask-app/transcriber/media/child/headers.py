"""What the first bytes of a file say about its length, where FFmpeg keeps it to itself."""

from __future__ import annotations

import os
from typing import BinaryIO

#: WAV lengths from here on, and 0, are what programs write that stream and can't know the length.
_STREAMED_WAV_BYTES = 0x7FF00000
_HEADER_BYTES = 4096
_ID3_HEADER_BYTES = 10
_XING_FRAMES, _XING_BYTES = 1, 2


def is_streamed_wav(source: BinaryIO) -> bool:
    """Whether this is a WAV file whose writer did not know its length, so that its end is no cut."""
    header = _read(source, 0)
    place = header.find(b"data")
    if header[8:12] != b"WAVE" or place < 0:
        return False
    size = int.from_bytes(header[place + 4 : place + 8], "little")
    return size == 0 or size >= _STREAMED_WAV_BYTES


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


def _id3_bytes(header: bytes) -> int:
    """The size of the tag before the sound."""
    if header[:3] != b"ID3" or len(header) < _ID3_HEADER_BYTES:
        return 0
    size = 0
    for byte in header[6:10]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER_BYTES + size


def _read(source: BinaryIO, place: int) -> bytes:
    source.seek(place)
    return source.read(_HEADER_BYTES)
