"""Conversations mixed from real voices, one to six speakers each: who speaks when is known to the sample.

From one seed a recording is the same to the sample. Speech is where a clip is louder than 35 dB below its loud parts; pauses of half a
second and more are no speech.
"""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from faster_whisper.audio import decode_audio

from speech_clips import CLIPS, JFK, READ_CLIPS

RATE = 16_000
SPEAKERS = (1, 2, 3, 4, 5, 6)
SECONDS = 90.0
OVERLAP = 0.10  # of the time in which somebody speaks
FIRST_SEED = 1000

_HOP, _WINDOW = 160, 400
_BELOW_DB = 35.0
_PAUSE_SECONDS = 0.5
_SHORTEST_SECONDS = 0.05
_LEVEL = 0.05

#: Kennedy in one piece, for those who need to know what he says.
WHOLE = "jfk-whole"

Samples = npt.NDArray[np.float32]

#: Clips of one reader who appears under several languages.
_SAME_VOICE = {"pl": "es", "pt": "es"}


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A voice speaks from `start` to `end` (seconds)."""

    voice: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A recording, and who speaks when in it. turns: the clips that it was mixed from."""

    name: str
    sound: Samples
    spoken: tuple[Spoken, ...]
    turns: tuple[Turn, ...]
    speakers: int

    @property
    def seconds(self) -> float:
        return len(self.sound) / RATE

    @property
    def pcm(self) -> bytes:
        """16 bit, as the decoder gives it."""
        return (np.clip(self.sound, -1, 1) * 32767).astype("<i2").tobytes()

    @property
    def wav(self) -> bytes:
        """As a file."""
        return _wav(self.pcm)

    def reference(self, voice: str, seconds: float = 4.0) -> bytes:
        """A file of the first seconds of a voice, from the clip that it is heard in first."""
        turn = next(turn for turn in self.turns if turn.voice == voice)
        first, last = (2 * int(at * RATE) for at in (turn.start, min(turn.end, turn.start + seconds)))
        return _wav(self.pcm[first:last])

    def voice_at(self, start: float, end: float) -> str | None:
        """Who speaks between these times; None: nobody, or several at once."""
        heard = {turn.voice for turn in self.turns if turn.start < end and turn.end > start}
        return heard.pop() if len(heard) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A clip of a voice in a mix. text: what it says."""

    voice: str
    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class VoiceClip:
    """A clip without the silence around it."""

    sound: Samples
    text: str


@cache
def voices() -> dict[str, tuple[VoiceClip, ...]]:
    """The nine voices at hand: eight readers, and Kennedy."""
    found: dict[str, list[VoiceClip]] = {}
    for clip in CLIPS:
        voice = _SAME_VOICE.get(clip.language, clip.language)
        found.setdefault(voice, []).append(VoiceClip(sound=_trimmed(load(clip.path)), text=clip.text))
    for clip in READ_CLIPS:
        found.setdefault("librivox", []).append(VoiceClip(sound=_trimmed(load(clip.path)), text=clip.text))
    found["jfk"] = [VoiceClip(sound=_trimmed(part), text="") for part in _utterances(load(JFK.path), 4.0)]
    return {voice: tuple(clips) for voice, clips in found.items()}


def corpus(count: int = 60, *, seconds: float = SECONDS, first_seed: int = FIRST_SEED) -> Iterator[Mix]:
    """Recordings of one to six speakers in turn."""
    for number in range(count):
        speakers = SPEAKERS[number % len(SPEAKERS)]
        yield mix(speakers, first_seed + number, seconds=seconds)


def one_voice(voice: str, seconds: float, seed: int) -> Mix:
    """A recording of one voice, of this length."""
    return _Mixer({voice: voices()[voice]}, np.random.default_rng(seed)).mix(voice, 1, seconds)


def mix(speakers: int, seed: int, *, seconds: float = SECONDS, among: Sequence[str] = ()) -> Mix:
    """A conversation of so many voices, of those `among` where any are named."""
    everybody = (
        voices() | {WHOLE: (VoiceClip(sound=_trimmed(load(JFK.path)), text=JFK.text),)} if among else voices()
    )
    chosen = {voice: clips for voice, clips in everybody.items() if not among or voice in among}
    return _Mixer(chosen, np.random.default_rng(seed)).mix(f"{speakers}-{seed}", speakers, seconds)


class _Mixer:
    """Puts clips after and over one another."""

    def __init__(self, clips: Mapping[str, Sequence[VoiceClip]], rng: np.random.Generator) -> None:
        self._clips = clips
        self._rng = rng
        self._left: dict[str, list[VoiceClip]] = {}

    def mix(self, name: str, speakers: int, seconds: float) -> Mix:
        rng = self._rng
        present = [str(voice) for voice in rng.choice(sorted(self._clips), speakers, replace=False)]
        gains = {voice: 10 ** (rng.uniform(-6, 0) / 20) for voice in present}
        sounds: list[Samples] = []
        turns: list[Turn] = []
        end, over, speech = float(rng.uniform(0.2, 1.0)), 0.0, 0.0
        ends = dict.fromkeys(present, 0.0)
        last: str | None = None
        for voice in self._order(present):
            if end >= seconds:
                break
            clip = self._next(voice)
            length = len(clip.sound) / RATE
            if last not in (None, voice) and over < OVERLAP * speech:
                shared = min(rng.uniform(0.5, 2.0), 0.6 * length, 0.6 * (end - turns[-1].start))
                start = max(end - shared, ends[voice] + 0.05)
                over += max(0.0, end - start)
            else:
                start = end + float(rng.choice([rng.uniform(0.05, 0.5), rng.uniform(0.3, 2.0)]))
            speech += length - max(0.0, end - start)
            sounds.append(clip.sound * np.float32(gains[voice]))
            turns.append(Turn(voice=voice, start=start, end=start + length, text=clip.text))
            ends[voice] = start + length
            end, last = max(end, start + length), voice
        return Mix(
            name=name,
            sound=self._sum(turns, sounds, end + 0.5),
            spoken=tuple(_spoken(turns, sounds)),
            turns=tuple(turns),
            speakers=speakers,
        )

    def _order(self, present: Sequence[str]) -> Iterator[str]:
        """Everybody in turn, in a new order each time, and rarely twice in a row."""
        last = None
        while True:
            for voice in self._rng.permutation(list(present)):
                if len(present) > 1 and voice == last and self._rng.random() < 0.8:
                    continue
                last = voice
                yield str(voice)

    def _next(self, voice: str) -> VoiceClip:
        """The voice's next clip; now and then two with a breath between them."""
        clip = self._take(voice)
        if self._rng.random() < 0.4 and self._left[voice]:
            more = self._take(voice)
            pause = np.zeros(int(self._rng.uniform(0.1, 0.4) * RATE), np.float32)
            text = f"{clip.text} {more.text}" if clip.text and more.text else ""
            clip = VoiceClip(sound=np.concatenate([clip.sound, pause, more.sound]), text=text)
        return VoiceClip(sound=clip.sound * np.float32(_LEVEL / _loudness(clip.sound)), text=clip.text)

    def _take(self, voice: str) -> VoiceClip:
        if not self._left.get(voice):
            clips = self._clips[voice]
            self._left[voice] = [clips[place] for place in self._rng.permutation(len(clips))]
        return self._left[voice].pop()

    def _sum(self, turns: Sequence[Turn], sounds: Sequence[Samples], seconds: float) -> Samples:
        total = self._rng.normal(0, 10 ** (self._rng.uniform(-75, -50) / 20), int(seconds * RATE))
        for turn, sound in zip(turns, sounds, strict=True):
            first = int(turn.start * RATE)
            total[first : first + len(sound)] += sound
        return np.asarray(total * min(1.0, 0.95 / np.abs(total).max()), np.float32)


def load(path: Path) -> Samples:
    """A file at 16 kHz, one channel."""
    return np.asarray(decode_audio(str(path), sampling_rate=RATE), np.float32)


def _wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(pcm)
    return buffer.getvalue()


def _spoken(turns: Sequence[Turn], sounds: Sequence[Samples]) -> Iterator[Spoken]:
    for turn, sound in zip(turns, sounds, strict=True):
        for start, end in _regions(sound, _PAUSE_SECONDS):
            yield Spoken(voice=turn.voice, start=turn.start + start, end=turn.start + end)


def _regions(sound: Samples, pause: float) -> list[tuple[float, float]]:
    """Where somebody speaks, over pauses shorter than `pause`."""
    count = max(1, 1 + (len(sound) - _WINDOW) // _HOP)
    energy = np.array([np.mean(sound[n * _HOP : n * _HOP + _WINDOW] ** 2) for n in range(count)])
    level = 10 * np.log10(energy + 1e-10)
    mask = level > np.percentile(level, 95) - _BELOW_DB
    edges = np.flatnonzero(np.diff(mask.astype(int), prepend=0, append=0)).reshape(-1, 2) * _HOP / RATE
    joined: list[list[float]] = []
    for start, end in edges.tolist():
        if joined and start - joined[-1][1] < pause:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return [(start, end) for start, end in joined if end - start >= _SHORTEST_SECONDS]


def _trimmed(sound: Samples) -> Samples:
    regions = _regions(sound, 0.0)
    return sound[int(max(0, regions[0][0] - 0.02) * RATE) : int((regions[-1][1] + 0.02) * RATE)]


def _utterances(sound: Samples, longest: float) -> list[Samples]:
    """A long recording, cut at its pauses into parts of at most `longest` seconds."""
    parts: list[list[float]] = []
    for start, end in _regions(sound, 0.25):
        if parts and end - parts[-1][0] <= longest:
            parts[-1][1] = end
        else:
            parts.append([start, end])
    cut = [piece for start, end in parts for piece in _pieces(start, end, longest)]
    return [
        sound[int(max(0, start - 0.02) * RATE) : int((end + 0.04) * RATE)]
        for start, end in cut
        if end - start >= 1.0
    ]


def _pieces(start: float, end: float, longest: float) -> list[tuple[float, float]]:
    """What is still too long, in equal parts."""
    count = max(1, math.ceil((end - start) / longest))
    edges = np.linspace(start, end, count + 1).tolist()
    return list(zip(edges, edges[1:], strict=False))


def _loudness(sound: Samples) -> float:
    return float(np.sqrt(np.mean(sound**2))) + 1e-9
