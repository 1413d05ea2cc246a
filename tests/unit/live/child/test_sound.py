"""Sound of every format that is taken, as 16 kHz samples."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from transcriber.live.child.sound import RATE, StreamResampler, decode, to_bytes
from transcriber.live.child.streams import Recording


def test_pcm_is_little_endian_and_an_odd_byte_is_left() -> None:
    assert decode("audio/pcm", b"\x00\x40\x00\xc0\x01").tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    ("kind", "code", "value"),
    [
        ("audio/pcmu", 0xFF, 0),
        ("audio/pcmu", 0x80, 32124),
        ("audio/pcmu", 0x00, -32124),
        ("audio/pcma", 0xD5, 8),
        ("audio/pcma", 0xAA, 32256),
        ("audio/pcma", 0x2A, -32256),
    ],
)
def test_telephony_codes_have_the_values_of_g711(kind: str, code: int, value: int) -> None:
    assert decode(kind, bytes([code]))[0] * 32768 == value


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_and_loudness_however_it_is_cut(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    resampler = StreamResampler(rate)

    made = np.concatenate([resampler.feed(block) for block in np.array_split(tone, 37)])

    expected = np.sin(2 * np.pi * 440 * np.arange(len(made)) / RATE)
    assert RATE - 60 <= len(made) <= RATE
    assert np.abs(made - expected)[100:-100].max() < 1e-3


def test_a_recording_is_a_whole_wav_file_after_every_block(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "upload")

    for blocks in (1, 2):
        recording.append(to_bytes(np.full(100, 0.25, np.float32)))
        with wave.open(io.BytesIO((tmp_path / "upload").read_bytes())) as file:
            assert (file.getframerate(), file.getnframes()) == (RATE, 100 * blocks)
    recording.close()
