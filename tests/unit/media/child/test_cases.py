"""Files that once lost sound, took the wrong one, or told a wrong time, through the decoder as it runs in its child."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from media_files import RATE, read_pcm
from transcriber.domain.options import AudioSelection
from transcriber.media.child.decoding import audio_codecs, decode_media
from transcriber.media.child.pcm import PcmSink
from transcriber.media.child.refusal import MediaRefusedError

DATA = Path(__file__).resolve().parents[3] / "data"
CASES = DATA / "cases"


@dataclass(frozen=True)
class Decoded:
    facts: dict[str, Any]
    samples: npt.NDArray[np.float64]

    @property
    def seconds(self) -> float:
        return float(self.facts["samples"]) / RATE

    @property
    def peak(self) -> float:
        return float(np.abs(self.samples).max())


def decode(tmp_path: Path, source: Path | bytes, **selection: Any) -> Decoded:
    data = source if isinstance(source, bytes) else source.read_bytes()
    target = tmp_path / "a.pcm"
    with target.open("wb") as file:
        sink = PcmSink(file, 600 * RATE)
        facts = decode_media(
            io.BytesIO(data), sink, audio_codecs(), lambda samples: None, AudioSelection(**selection)
        )
    samples = np.fromfile(target, "<i2").astype(np.float64) / 32768
    return Decoded(facts, samples.reshape(-1, facts["pcm_channels"]))


def speech(seconds: float | None = None) -> npt.NDArray[np.float64]:
    return np.asarray(read_pcm(DATA / "jfk.flac", seconds), np.float64) / 32768


def wav(samples: npt.NDArray[np.float64], subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, RATE, format=kind, subtype=subtype)
    return target.getvalue()


def onset(samples: npt.NDArray[np.float64], after: float = 0.0) -> float:
    """When it gets loud, in seconds."""
    first = int(after * RATE)
    return after + float(np.argmax(np.abs(samples[first:, 0]) > 0.05)) / RATE


def test_channels_that_cancel_each_other_out_are_not_mixed(tmp_path: Path) -> None:
    found = decode(tmp_path, CASES / "inverted_phase.mp3")

    assert found.facts["channels_used"] == "left"
    assert found.facts["notices"] == ["cancelled_channels"]
    assert found.peak > 0.5


@pytest.mark.parametrize("kind", ["two speakers", "one side", "same", "half of it inverted"])
def test_other_stereo_is_mixed(tmp_path: Path, kind: str) -> None:
    voice = speech()
    other = {
        "two speakers": np.roll(voice, 3 * RATE),
        "one side": np.zeros(len(voice)),
        "same": voice,
        "half of it inverted": -0.3 * voice,
    }[kind]

    found = decode(tmp_path, wav(np.stack([voice, other], axis=1)))

    assert (found.facts["channels_used"], found.facts["notices"]) == ("mix", [])


@pytest.mark.parametrize("decibels", [-30, -40, -50, -60])
def test_quiet_sound_is_raised_before_it_is_rounded(tmp_path: Path, decibels: float) -> None:
    voice = speech()
    quiet = voice * 10 ** (decibels / 20) / np.abs(voice).max()

    found = decode(tmp_path, wav(quiet, "PCM_24"))

    assert 0.15 < found.peak <= 1
    assert found.facts["gain_db"] == pytest.approx(-decibels - 11, abs=3)
    assert np.corrcoef(found.samples[:, 0], voice)[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["silence", "dither", "usual", "loud word in an hour of silence"])
def test_silence_and_usual_sound_stay_as_they_are(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(1)
    sound = {
        "silence": np.zeros(5 * RATE),
        "dither": rng.integers(-2, 3, 5 * RATE) / 32768,
        "usual": 0.2 * speech(),
        "loud word in an hour of silence": np.concatenate(
            [rng.normal(0, 3e-4, 300 * RATE), speech(2), np.zeros(RATE)]
        ),
    }[kind]

    assert decode(tmp_path, wav(sound)).facts["gain_db"] == 0


def test_each_channel_on_its_own(tmp_path: Path) -> None:
    voice = speech(4)
    both = np.stack([voice, np.roll(voice, RATE)], axis=1)

    found = decode(tmp_path, wav(both), channels="split")

    assert found.facts["pcm_channels"] == 2
    assert found.facts["samples"] == len(voice)
    assert np.abs(found.samples - both).max() < 1e-3


@pytest.mark.parametrize(("channels", "column"), [("left", 0), ("right", 1)])
def test_one_channel_of_two(tmp_path: Path, channels: str, column: int) -> None:
    both = np.stack([speech(4), np.roll(speech(4), RATE)], axis=1)

    found = decode(tmp_path, wav(both), channels=channels)

    assert np.abs(found.samples[:, 0] - both[:, column]).max() < 1e-3


def test_a_choice_of_channels_has_no_effect_on_one(tmp_path: Path) -> None:
    found = decode(tmp_path, wav(speech(2)), channels="split")

    assert (found.facts["pcm_channels"], found.facts["notices"]) == (1, ["one_channel"])


def test_a_commentary_is_not_taken_though_it_is_the_default(tmp_path: Path) -> None:
    found = decode(tmp_path, CASES / "tracks_comment_default.mkv")

    assert [track["is_used"] for track in found.facts["tracks"]] == [False, True]
    assert found.facts["tracks"][0]["marks"] == ["default", "comment"]


def test_a_silent_track_gives_way_to_one_that_speaks(tmp_path: Path) -> None:
    found = decode(tmp_path, CASES / "tracks_silent_first.mp4")

    assert [track["is_used"] for track in found.facts["tracks"]] == [False, True]
    assert found.facts["notices"] == ["silent_track"]
    assert found.peak > 0.2


def test_the_track_that_was_asked_for_is_taken(tmp_path: Path) -> None:
    silent = decode(tmp_path, CASES / "tracks_silent_first.mp4", audio_track=0)
    comment = decode(tmp_path, CASES / "tracks_comment_default.mkv", audio_track=0)

    assert silent.peak < 0.01
    assert [track["is_used"] for track in comment.facts["tracks"]] == [True, False]


def test_a_track_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaRefusedError) as refused:
        decode(tmp_path, CASES / "tracks_silent_first.mp4", audio_track=2)

    assert refused.value.reason == "no_such_track"


def test_a_chained_file_is_read_on_with_another_number_of_channels(tmp_path: Path) -> None:
    found = decode(tmp_path, CASES / "chained_ch.ogg")

    assert found.seconds == pytest.approx(6.28, abs=0.05)
    assert found.facts["notices"] == []
    assert np.abs(found.samples[int(3.5 * RATE) :]).max() > 0.1


def test_a_clock_that_starts_late_is_no_cut(tmp_path: Path) -> None:
    found = decode(tmp_path, CASES / "ts1000.mkv")

    assert (found.facts["notices"], round(found.seconds)) == ([], 11)


def test_a_hole_in_a_live_recording_stays_a_hole(tmp_path: Path) -> None:
    found = decode(tmp_path, CASES / "gap20_live.webm")

    assert found.seconds == pytest.approx(31.02, abs=0.1)
    assert np.abs(found.samples[6 * RATE : 25 * RATE]).max() < 0.001
    assert onset(found.samples, 20) == pytest.approx(25.49, abs=0.1)
    assert found.facts["notices"] == []


def test_sound_follows_a_clock_that_runs_otherwise(tmp_path: Path) -> None:
    """jfk.flac's last word ends at 10.5 s of 11; by this file's clock, a tenth earlier."""
    found = decode(tmp_path, CASES / "drift_m10.webm")
    whole = speech()

    assert found.seconds == pytest.approx(9.92, abs=0.1)
    assert found.facts["notices"] == []
    for share in (0.25, 0.5, 0.75):
        assert _loudness(found.samples[:, 0], share) == pytest.approx(_loudness(whole, share), abs=0.012)


def _loudness(samples: npt.NDArray[np.float64], share: float) -> float:
    """The part of the recording in which this share of its energy lies."""
    energy = np.cumsum(samples**2)
    return float(np.searchsorted(energy, share * energy[-1])) / len(samples)


def test_the_word_data_in_a_title_does_not_cut_a_piped_file(tmp_path: Path) -> None:
    plain = wav(speech(2))
    title = b"INFOINAM" + struct.pack("<I", 10) + b"data 1234\0"
    piped = (
        plain[:36]
        + b"LIST"
        + struct.pack("<I", len(title))
        + title
        + b"data"
        + struct.pack("<I", 0xFFFFFFFF)
        + plain[44:]
    )

    assert decode(tmp_path, piped).facts["notices"] == []


def test_gsm_in_wav_is_whole_and_a_cut_one_is_not(tmp_path: Path) -> None:
    target = io.BytesIO()
    soundfile.write(target, speech()[::2], RATE // 2, format="WAV", subtype="GSM610")
    whole = target.getvalue()

    assert decode(tmp_path, whole).facts["notices"] == []
    assert decode(tmp_path, whole[: len(whole) // 2]).facts["notices"] == ["truncated_audio"]
