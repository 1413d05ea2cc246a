"""Recordings that try an engine's hearing: real clips with music, noise and silence between, quiet, by telephone, in two
languages. Built from the same seed, a recording is the same to the sample.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

from speech_clips import ENGLISH_CLIPS, OTHER_CLIPS, READ_CLIPS, Clip

RATE = 16_000

Samples = npt.NDArray[np.float64]

#: Root mean square of speech and of music at their usual level, of full scale.
_SPEECH_LEVEL = 0.08
_MUSIC_LEVEL = 0.06

_AUDIO_SUFFIXES = (".flac", ".mp3", ".ogg", ".opus", ".wav")


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What is said from start to end (s)."""

    start: float
    end: float
    language: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Recording:
    """An audio file and what is said in it. language: sent with it, None: to be detected; multilingual: window by window."""

    name: str
    audio: bytes
    seconds: float
    spoken: tuple[Spoken, ...]
    language: str | None = None
    multilingual: bool = False

    @property
    def text(self) -> str:
        return " ".join(part.text for part in self.spoken)

    @property
    def text_language(self) -> str:
        """The language whose rules its text is compared by; '' for several."""
        found = {part.language for part in self.spoken}
        return found.pop() if len(found) == 1 else ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Clips by language, and sounds without speech that stand between them."""

    clips: dict[str, tuple[Clip, ...]]
    fillers: tuple[tuple[str, Samples], ...]


def own_material() -> Material:
    """The repository's own clips; the sounds are synthesised."""
    clips: dict[str, tuple[Clip, ...]] = {"en": (*ENGLISH_CLIPS, *READ_CLIPS)}
    for clip in OTHER_CLIPS:
        clips[clip.language] = (*clips.get(clip.language, ()), clip)
    rng = np.random.default_rng(7)
    fillers = (
        ("silence", np.zeros(12 * RATE)),
        ("chords", _chords(14, rng)),
        ("pink noise", _level(_pink(10 * RATE, rng), 0.05)),
        ("room tone", _level(_pink(8 * RATE, rng), 0.002)),
        ("beat", _beat(16, rng)),
        ("calls", _calls(20, rng)),
        ("hum", _hum(9)),
    )
    return Material(clips=clips, fillers=fillers)


def add_folder(material: Material, folder: Path) -> Material:
    """With the clips in speech/LANGUAGE/ (each beside its .txt) and the sounds in fillers/ of this folder."""
    clips = dict(material.clips)
    for path in _audio_files(folder / "speech"):
        text = path.with_suffix(".txt")
        if text.is_file():
            clip = Clip(path.parent.name, path, text.read_text(encoding="utf-8").strip())
            clips[clip.language] = (*clips.get(clip.language, ()), clip)
    fillers = [(path.stem, read_audio(path)) for path in _audio_files(folder / "fillers")]
    return Material(clips=clips, fillers=(*material.fillers, *fillers))


def _audio_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in _AUDIO_SUFFIXES)


def read_audio(path: Path) -> Samples:
    """Any file as 16 kHz mono."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in [*container.decode(audio=0), None]:
            parts += [output.to_ndarray()[0] for output in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float64)


def samples_of(recording: Recording) -> Samples:
    """Its sound again."""
    samples, _ = soundfile.read(io.BytesIO(recording.audio))
    return np.asarray(samples, np.float64)


#: Name → what is made of the material with a seed.
Recipe = Callable[[Material, int], Recording]


def joined(material: Material, seed: int) -> Recording:
    """Every English clip once, each after another sound than the one before: the recording that words get lost in."""
    return _join("joined", material, "en", seed, pauses=False)


def joined_in(language: str) -> Recipe:
    """The same in another language."""
    return lambda material, seed: _join(f"joined, {language}", material, language, seed, pauses=False)


def read_aloud(material: Material, seed: int) -> Recording:
    """The same with pauses only, as of a reader."""
    return _join("pauses", material, "en", seed, pauses=True)


def quiet(material: Material, seed: int) -> Recording:
    """The joined recording with its loudest sample at -60 dB, in 24 bits."""
    samples, spoken = _lay_out(material, ["en"], seed, pauses=True)
    samples *= 1e-3 / np.abs(samples).max()
    return _recording("quiet", samples, spoken, subtype="PCM_24")


def telephone(material: Material, seed: int) -> Recording:
    """Over the telephone: 300 to 3400 Hz, 8 kHz, mu-law."""
    samples, spoken = _lay_out(material, ["en"], seed, pauses=True)
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    return _recording(
        "telephone", np.fft.irfft(spectrum, len(samples))[::2], spoken, rate=RATE // 2, subtype="ULAW"
    )


def over_music(material: Material, seed: int) -> Recording:
    """Speech with music under it, 15 dB below."""
    samples, spoken = _lay_out(material, ["en"], seed, pauses=True)
    music = _chords(int(len(samples) / RATE) + 1, np.random.default_rng(seed))[: len(samples)]
    return _recording("over music", samples + _level(music, _SPEECH_LEVEL * 10 ** (-15 / 20)), spoken)


def two_languages(material: Material, seed: int) -> Recording:
    """English, then Spanish, with silence between; without hints, but for `multilingual`."""
    samples, spoken = _lay_out(material, ["en", "es"], seed, pauses=True)
    return replace(_recording("two languages", samples, spoken), multilingual=True)


def recurring(material: Material, seed: int) -> Recording:
    """Four sentences again and again at random, 99 in all: announcements, drills, refrains."""
    rng = np.random.default_rng(seed)
    clips = material.clips["en"]
    chosen = rng.choice(len(clips), size=4, replace=False)
    order = [clips[number] for number in rng.choice(chosen, size=99)]
    samples, spoken = _in_a_row(order, (np.zeros(int(RATE * rng.uniform(0.2, 1.5))) for _ in order))
    return _recording("recurring", samples, spoken, language="en")


def nothing(material: Material, seed: int) -> Recording:
    """Music, noise and silence only: there must be no text."""
    return _recording("no speech", np.concatenate([_usual(sound) for _, sound in material.fillers]), [])


_RECIPES: dict[str, Recipe] = {
    "joined": joined,
    "pauses": read_aloud,
    "quiet": quiet,
    "telephone": telephone,
    "over-music": over_music,
    "two-languages": two_languages,
    "recurring": recurring,
    "no-speech": nothing,
}

#: Languages besides English of which there are joined recordings, where the material has clips.
_JOINED_LANGUAGES = ("de", "es", "fr")


def recipes(material: Material) -> dict[str, Recipe]:
    """What can be built of this material, by name."""
    found = [language for language in _JOINED_LANGUAGES if language in material.clips]
    return _RECIPES | {f"joined-{language}": joined_in(language) for language in found}


def alone(clip: Clip) -> Recording:
    """One clip as it is."""
    samples = read_audio(clip.path)
    part = Spoken(start=0.0, end=len(samples) / RATE, language=clip.language, text=clip.text)
    return _recording(clip.name, samples, [part], language=clip.language)


def _join(name: str, material: Material, language: str, seed: int, *, pauses: bool) -> Recording:
    samples, spoken = _lay_out(material, [language], seed, pauses=pauses)
    return _recording(name, samples, spoken, language=language)


def _lay_out(
    material: Material, languages: Sequence[str], seed: int, *, pauses: bool
) -> tuple[Samples, list[Spoken]]:
    """The clips of each language in a random order; before each a sound, or a pause of up to 2 s."""
    rng = np.random.default_rng(seed)
    fillers = _endless(material.fillers, rng)
    order = [
        material.clips[language][number]
        for language in languages
        for number in rng.permutation(len(material.clips[language]))
    ]
    between = (
        np.zeros(int(RATE * rng.uniform(0.3, 2.0))) if pauses else _usual(next(fillers)) for _ in order
    )
    return _in_a_row(order, between)


def _in_a_row(clips: Iterable[Clip], between: Iterable[Samples]) -> tuple[Samples, list[Spoken]]:
    """The clips at the usual level, before each what stands between."""
    parts: list[Samples] = []
    spoken: list[Spoken] = []
    place = 0
    for clip, before in zip(clips, between, strict=True):
        voice = _level(read_audio(clip.path), _SPEECH_LEVEL)
        start = place + len(before)
        place = start + len(voice)
        parts += [before, voice]
        spoken.append(Spoken(start=start / RATE, end=place / RATE, language=clip.language, text=clip.text))
    return np.concatenate(parts), spoken


def _endless(fillers: Sequence[tuple[str, Samples]], rng: np.random.Generator) -> Iterator[Samples]:
    while True:
        for number in rng.permutation(len(fillers)):
            yield fillers[number][1]


def _recording(
    name: str,
    samples: Samples,
    spoken: Sequence[Spoken],
    *,
    rate: int = RATE,
    subtype: str = "PCM_16",
    language: str | None = None,
) -> Recording:
    target = io.BytesIO()
    soundfile.write(target, np.clip(samples, -1, 1), rate, format="WAV", subtype=subtype)
    return Recording(
        name=name,
        audio=target.getvalue(),
        seconds=len(samples) / rate,
        spoken=tuple(spoken),
        language=language,
    )


def _usual(sound: Samples) -> Samples:
    """At most as loud as music is beside speech, with short fades."""
    loud = np.sqrt(np.mean(sound**2))
    faded = sound * min(1.0, _MUSIC_LEVEL / loud) if loud else sound.copy()
    ramp = np.linspace(0, 1, RATE // 20)
    faded[: len(ramp)] *= ramp
    faded[-len(ramp) :] *= ramp[::-1]
    return faded


def _level(sound: Samples, level: float) -> Samples:
    return sound * (level / max(1e-9, float(np.sqrt(np.mean(sound**2)))))


def _pink(count: int, rng: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, count)


def _tone(hertz: float, seconds: float) -> Samples:
    """A plucked note with overtones."""
    time = np.arange(int(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * hertz * part * time) / part**1.5 for part in range(1, 6)]
    return np.sum(partials, axis=0) * np.exp(-2.0 * time / seconds)


def _chords(seconds: int, rng: np.random.Generator) -> Samples:
    chords = [(261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7)]
    parts = [
        sum((_tone(hertz, 0.5) for hertz in chords[rng.integers(4)]), np.zeros(RATE // 2))
        for _ in range(2 * seconds)
    ]
    return _level(np.concatenate(parts), _MUSIC_LEVEL)


def _beat(seconds: int, rng: np.random.Generator) -> Samples:
    """Drums: a thump on each half second, a hiss between."""
    time = np.arange(RATE // 4) / RATE
    thump = np.sin(2 * np.pi * 70 * time) * np.exp(-18 * time)
    parts = [
        part
        for _ in range(2 * seconds)
        for part in (thump, 0.3 * rng.normal(size=RATE // 4) * np.exp(-30 * time))
    ]
    return _level(np.concatenate(parts), _MUSIC_LEVEL)


def _calls(seconds: int, rng: np.random.Generator) -> Samples:
    """Like a bird or an animal: gliding tones with pauses."""
    sound = np.zeros(seconds * RATE)
    for start in range(0, seconds * RATE - RATE, RATE // 2):
        time = np.arange(int(RATE * rng.uniform(0.15, 0.4))) / RATE
        glide = rng.uniform(500, 1500) + rng.uniform(-1500, 1500) * time
        call = np.sin(2 * np.pi * np.cumsum(glide) / RATE) * np.hanning(len(time))
        sound[start : start + len(call)] += call * rng.uniform(0.2, 1.0)
    return _level(sound, _MUSIC_LEVEL)


def _hum(seconds: int) -> Samples:
    time = np.arange(seconds * RATE) / RATE
    return _level(np.sin(2 * np.pi * 50 * time) + 0.5 * np.sin(2 * np.pi * 150 * time), 0.02)
