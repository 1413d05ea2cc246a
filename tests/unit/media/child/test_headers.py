"""Lengths that FFmpeg does not pass on are read from the header itself."""

from __future__ import annotations

import io

import pytest

from transcriber.media.child.headers import is_streamed_wav, missing_mp3_bytes


def wave(size: int) -> io.BytesIO:
    return io.BytesIO(b"RIFF\0\0\0\0WAVEfmt " + bytes(20) + b"data" + size.to_bytes(4, "little") + bytes(100))


def mp3(declared: int | None, actual: int, tag: bytes = b"", flags: int = 3) -> io.BytesIO:
    """An MP3 of `actual` bytes whose Info header claims `declared`."""
    frame = b"\xff\xfb\x90\x00" + bytes(32)
    if declared is not None:
        frame += (
            b"Info"
            + flags.to_bytes(4, "big")
            + (bytes(4) if flags & 1 else b"")
            + declared.to_bytes(4, "big")
        )
    return io.BytesIO(tag + frame.ljust(actual, b"\0"))


@pytest.mark.parametrize(
    ("size", "streamed"), [(0, True), (2**32 - 1, True), (0x7FFFFFFF, True), (100, False), (2**30, False)]
)
def test_wave_without_a_real_length_is_recognised(size: int, streamed: bool) -> None:
    assert is_streamed_wav(wave(size)) is streamed


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0AVI data\0\0\0\0", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_wave_is_not_streamed(content: bytes) -> None:
    assert not is_streamed_wav(io.BytesIO(content))


@pytest.mark.parametrize("flags", [2, 3])
def test_cut_mp3_lacks_what_its_header_counts(flags: int) -> None:
    assert missing_mp3_bytes(mp3(50_000, 20_000, flags=flags)) == 30_000


def test_tag_before_the_sound_is_not_counted() -> None:
    tag = b"ID3\4\0\0\0\0\x4e\x10" + bytes(0x4E << 7 | 0x10)

    assert missing_mp3_bytes(mp3(50_000, 20_000, tag=tag)) == 30_000


@pytest.mark.parametrize(
    "file",
    [
        mp3(20_000, 20_000),
        mp3(20_000, 30_000),
        mp3(None, 20_000),
        mp3(50_000, 20_000, flags=1),
        io.BytesIO(b""),
        io.BytesIO(b"ID3"),
        io.BytesIO(b"ID3\4\0\0\x7f\x7f\x7f\x7f"),
    ],
)
def test_whole_unknown_and_broken_files_lack_nothing(file: io.BytesIO) -> None:
    assert missing_mp3_bytes(file) == 0
