"""The sink counts, stops at the limit, and notices a full disk."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest

from transcriber.media.child.pcm import PcmSink
from transcriber.media.child.refusal import MediaRefusedError


def test_samples_and_silence_are_written_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"

    with path.open("wb") as file:
        sink = PcmSink(file, 10)
        sink.write(b"\x01\x02")
        sink.silence(2)
        sink.write(b"\x03\x04")
        sink.silence(1)
        sink.finish()

    assert path.read_bytes() == b"\x01\x02\0\0\0\0\x03\x04\0\0"
    assert sink.samples == 5
    assert len(b64decode(sink.peaks.to_text())) == 1


def test_room_is_for_what_is_written_and_silence_takes_none(tmp_path: Path) -> None:
    with (tmp_path / "a.pcm").open("wb") as file:
        sink = PcmSink(file, 100, max_bytes=8)
        sink.write(bytes(4))
        sink.silence(50)
        sink.write(bytes(4))

        with pytest.raises(MediaRefusedError) as caught:
            sink.write(bytes(2))

    assert caught.value.reason == "storage_full"


def test_exactly_the_limit_is_allowed_and_one_more_is_not(tmp_path: Path) -> None:
    with (tmp_path / "a.pcm").open("wb") as file:
        sink = PcmSink(file, 4)
        sink.write(bytes(8))

        with pytest.raises(MediaRefusedError) as caught:
            sink.write(bytes(2))

    assert caught.value.reason == "too_long"


def test_silence_counts_against_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "a.pcm").open("wb") as file, pytest.raises(MediaRefusedError) as caught:
        PcmSink(file, 4).silence(5)

    assert caught.value.reason == "too_long"


def test_full_disk_is_named() -> None:
    file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below; nothing is buffered
    try:
        with pytest.raises(MediaRefusedError) as caught:
            PcmSink(file, 4).write(bytes(2))  # type: ignore[arg-type]
    finally:
        file.close()

    assert caught.value.reason == "storage_full"
