"""Long recordings for tests and scripts: real English clips one after the other, as WAV."""

from __future__ import annotations

import wave
from array import array
from pathlib import Path

from media_files import RATE, read_pcm
from speech_clips import ENGLISH_CLIPS

#: Between two clips, in seconds.
PAUSE_SECONDS = 0.8


def write_speech(path: Path, seconds: float) -> Path:
    """A WAV file of this length with speech all through it."""
    pause = array("h", bytes(2 * int(PAUSE_SECONDS * RATE)))
    round_of_clips = array("h")
    for clip in ENGLISH_CLIPS:
        round_of_clips += read_pcm(clip.path) + pause
    left = int(seconds * RATE)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        while left > 0:
            piece = round_of_clips[:left]
            sound.writeframesraw(piece.tobytes())
            left -= len(piece)
    return path
