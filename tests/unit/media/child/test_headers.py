"""Lengths that FFmpeg does not pass on are read from the header itself."""

from __future__ import annotations

import io

import pytest

from transcriber.media.child.headers import missing_mp3_bytes, ogg_links, wav_length


def wave(size: int, before: bytes = b"") -> io.BytesIO:
    head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(16)
    return io.BytesIO(head + before + b"data" + size.to_bytes(4, "little") + bytes(100))


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
    length = wav_length(wave(size))

    assert length is not None
    assert length.is_open is streamed
    assert length.missing == (0 if streamed else size - 100)


def test_the_word_data_in_a_title_is_no_sound() -> None:
    title = b"INFOINAM\x0e\0\0\0data 0000 data\0\0"
    listed = b"LIST" + len(title).to_bytes(4, "little") + title

    length = wav_length(wave(2**32 - 1, before=listed))

    assert length is not None
    assert length.is_open


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0AVI data\0\0\0\0", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_wave_is_not_streamed(content: bytes) -> None:
    assert wav_length(io.BytesIO(content)) is None


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


def page(flags: int, body: bytes) -> bytes:
    return b"OggS\0" + bytes([flags]) + bytes(20) + bytes([1, len(body)]) + body


def test_links_of_a_chained_ogg_file_are_found() -> None:
    link = page(2, b"head") + page(0, b"sound") + page(4, b"end")

    assert ogg_links(io.BytesIO(link + link)) == [(0, len(link)), (len(link), 2 * len(link))]


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", page(2, b"head") + page(2, b"second stream") + page(0, b"sound")]
)
def test_a_file_of_one_link_or_none_has_no_links(content: bytes) -> None:
    assert ogg_links(io.BytesIO(content)) == []
