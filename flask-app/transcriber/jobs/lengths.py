"""A first guess at how long a recording is, from its first bytes and its size. For estimates only."""

from __future__ import annotations

#: How much of a file the guess looks at.
HEAD_BYTES = 64

#: Bytes a second by what a file begins with (offset, magic): typical rates where the header has none.
_TYPICAL_RATES = (
    (0, b"OggS", 6_000),
    (0, b"ID3", 16_000),
    (0, b"\xff\xfb", 16_000),
    (0, b"\xff\xf3", 8_000),
    (0, b"#!AMR", 1_600),
    (8, b"WAVE", 32_000),
    (0, b"fLaC", 50_000),
    (4, b"ftypM4A", 16_000),
    (4, b"ftyp", 100_000),
    (0, b"\x1aE\xdf\xa3", 20_000),
    (0, b"RIFF", 150_000),
)
_OTHER_RATE = 16_000


def guess_seconds(head: bytes, size_bytes: int) -> float:
    """Seconds of audio in a file of this size that begins like this."""
    return _by_header(head, size_bytes) or size_bytes / _typical_rate(head)


def _by_header(head: bytes, size_bytes: int) -> float | None:
    if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt ":
        rate = int.from_bytes(head[28:32], "little")
        return size_bytes / rate if rate else None
    if head[:4] == b"fLaC" and len(head) >= 26:
        # STREAMINFO: 20 bits of sample rate, 3 of channels, 5 of depth, 36 of samples.
        packed = int.from_bytes(head[18:26], "big")
        rate, samples = packed >> 44, packed & (1 << 36) - 1
        return samples / rate if rate and samples else None
    return None


def _typical_rate(head: bytes) -> int:
    for offset, magic, rate in _TYPICAL_RATES:
        if head[offset : offset + len(magic)] == magic:
            return rate
    return _OTHER_RATE
