"""Real files of every kind through the real decode server."""

from __future__ import annotations

import os
import struct
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hostile_run import ALLOWED_GROWTH_BYTES, TreeMemory
from media_files import (
    ENCODINGS,
    JFK,
    RATE,
    Encoding,
    can_encode,
    correlate,
    encode,
    encode_picture_only,
    encode_tracks,
    make_silent_flac,
    make_tone,
    make_wave,
    read_pcm,
)
from transcriber.domain.errors import (
    AudioRoomError,
    AudioTooLongError,
    EmptyUploadError,
    NoAudioStreamError,
    UndecodableMediaError,
)
from transcriber.media.decoder import SandboxedDecoder

#: Codecs add up to this much at the ends.
EDGE_SAMPLES = RATE // 10


@pytest.fixture(scope="module")
def decoder() -> Iterator[SandboxedDecoder]:
    decoder = SandboxedDecoder(max_audio_seconds=3600, timeout_seconds=30)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def speech() -> array[int]:
    return read_pcm(JFK)


def read_samples(path: Path) -> array[int]:
    return array("h", path.read_bytes())


def loudness(samples: array[int]) -> float:
    return sum(map(abs, samples)) / max(1, len(samples))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_same_speech_in_any_wrapping_gives_the_same_sound(
    encoding: Encoding, decoder: SandboxedDecoder, speech: array[int], tmp_path: Path
) -> None:
    assert can_encode(encoding)
    upload = encode(tmp_path / "upload", speech, encoding)

    audio = decoder.decode(upload, tmp_path / "pcm", job_id="a")

    assert abs(audio.samples - len(speech)) <= EDGE_SAMPLES
    assert (tmp_path / "pcm").stat().st_size == audio.samples * 2
    assert correlate(speech, read_samples(tmp_path / "pcm")) >= encoding.correlation
    assert audio.notices == ()
    assert audio.sample_rate == encoding.rate
    assert audio.channels == {"mono": 1, "stereo": 2, "5.1": 6}[encoding.layout]


def tagged_wave(content: bytes) -> bytes:
    """The wave with a title of Latin-1's in front of its samples."""
    title = b"Caf\xe9 \xff"
    info = b"INFO" + b"INAM" + struct.pack("<I", len(title)) + title
    content = content[:36] + b"LIST" + struct.pack("<I", len(info)) + info + content[36:]
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def tagged_flac(content: bytes) -> bytes:
    """The FLAC with a comment that breaks its format's rule to be UTF-8."""
    title = b"TITLE=Caf\xe9 \xff"
    comment = struct.pack("<II", 0, 1) + struct.pack("<I", len(title)) + title
    after_stream_info = 4 + 4 + 34
    block = b"\x04" + len(comment).to_bytes(3, "big") + comment
    return content[:after_stream_info] + block + content[after_stream_info:]


@pytest.mark.parametrize("kind", ["wave", "flac"])
def test_tags_that_are_not_utf_8_do_not_refuse_the_file(
    decoder: SandboxedDecoder, tmp_path: Path, kind: str
) -> None:
    plain = make_wave(make_tone(1.0)) if kind == "wave" else JFK.read_bytes()
    (tmp_path / "plain").write_bytes(plain)
    (tmp_path / "upload").write_bytes(tagged_wave(plain) if kind == "wave" else tagged_flac(plain))

    audio = decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert audio.notices == ()
    decoder.decode(tmp_path / "plain", tmp_path / "expected", job_id="b")
    assert (tmp_path / "pcm").read_bytes() == (tmp_path / "expected").read_bytes()


def test_more_channels_than_there_is_a_rule_for_are_averaged(
    decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    tone = make_tone(1.0)
    nine = array("h", (sample for value in tone for sample in [value] * 9))
    content = bytearray(make_wave(nine))
    content[22:24], content[32:34] = b"\x09\0", b"\x12\0"
    (tmp_path / "upload").write_bytes(content)

    audio = decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert (audio.channels, audio.samples) == (9, len(tone))
    assert correlate(tone, read_samples(tmp_path / "pcm")) > 0.999


def test_file_that_changes_its_rate_on_the_way_is_decoded_whole(
    decoder: SandboxedDecoder, speech: array[int], tmp_path: Path
) -> None:
    mp3 = next(e for e in ENCODINGS if e.name == "mp3")
    low = encode(tmp_path / "low", speech, replace(mp3, rate=16_000, layout="mono"))
    high = encode(tmp_path / "high", speech, mp3)
    (tmp_path / "upload").write_bytes(low.read_bytes() + high.read_bytes())

    audio = decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert audio.duration == pytest.approx(22.0, abs=0.2)


def test_facts_about_the_file_are_told(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    audio = decoder.decode(JFK, tmp_path / "pcm", job_id="a")

    assert (audio.container, audio.codec, audio.channels, audio.sample_rate) == ("flac", "flac", 2, 44_100)
    assert (audio.audio_streams, audio.stream_index, audio.path) == (1, 0, tmp_path / "pcm")
    assert audio.duration == pytest.approx(11.0, abs=0.01)


def test_pcm_is_private_and_replaces_what_an_earlier_attempt_left(
    decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    (tmp_path / "pcm").write_bytes(b"left behind" * 1_000_000)
    (tmp_path / "pcm").chmod(0o600)

    audio = decoder.decode(JFK, tmp_path / "pcm", job_id="a")

    assert (tmp_path / "pcm").stat().st_size == audio.samples * 2
    assert (tmp_path / "pcm").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("default", [0, 1])
def test_default_audio_stream_of_a_video_is_chosen(
    default: int, decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    tracks = [make_tone(2.0, 300.0), make_tone(2.0, 900.0)]
    upload = encode_tracks(tmp_path / "upload", tracks, default=default)

    audio = decoder.decode(upload, tmp_path / "pcm", job_id="a")

    heard = read_samples(tmp_path / "pcm")
    assert (audio.audio_streams, audio.stream_index) == (2, 1 + default)
    assert correlate(tracks[default], heard) > 0.95 > 0.2 > correlate(tracks[1 - default], heard)


def test_sound_that_starts_later_than_the_picture_keeps_its_times(
    decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    upload = encode_tracks(tmp_path / "upload", [make_tone(2.0)], default=0, starts=(3.0,))

    audio = decoder.decode(upload, tmp_path / "pcm", job_id="a")

    heard = read_samples(tmp_path / "pcm")
    assert audio.duration == pytest.approx(5.0, abs=0.1)
    assert loudness(heard[: int(2.9 * RATE)]) == 0
    assert loudness(heard[int(3.1 * RATE) : int(4.9 * RATE)]) > 5000


def test_silence_is_decoded_as_silence(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(make_wave([0] * RATE))

    audio = decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert audio.samples == RATE
    assert not any(read_samples(tmp_path / "pcm"))


def test_empty_file_is_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "upload").touch()
    decoder = SandboxedDecoder(max_audio_seconds=10, timeout_seconds=10)

    with pytest.raises(EmptyUploadError):
        decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert decoder.pids() == ()
    assert not (tmp_path / "pcm").exists()


@pytest.mark.parametrize(
    "content",
    [b"hello\n" * 1000, b"\0" * 5000, b"x", make_wave([])],
    ids=["text", "zeros", "one byte", "no samples"],
)
def test_what_is_not_audio_is_refused_and_leaves_nothing(
    content: bytes, decoder: SandboxedDecoder, tmp_path: Path
) -> None:
    (tmp_path / "upload").write_bytes(content)

    with pytest.raises(UndecodableMediaError):
        decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert not (tmp_path / "pcm").exists()


def test_video_without_sound_is_named(decoder: SandboxedDecoder, tmp_path: Path) -> None:
    upload = encode_picture_only(tmp_path / "upload")

    with pytest.raises(NoAudioStreamError):
        decoder.decode(upload, tmp_path / "pcm", job_id="a")


@pytest.mark.parametrize("name", ["wav", "mp3", "flac", "mkv", "aiff", "w64", "wavpack", "wma"])
def test_truncated_file_gives_what_is_there_and_a_notice(
    name: str, decoder: SandboxedDecoder, speech: array[int], tmp_path: Path
) -> None:
    encoding = next(e for e in ENCODINGS if e.name == name)
    upload = encode(tmp_path / "upload", speech, encoding)
    content = upload.read_bytes()
    upload.write_bytes(content[: len(content) // 2])

    audio = decoder.decode(upload, tmp_path / "pcm", job_id="a")

    assert 3 < audio.duration < 8
    assert [notice.code for notice in audio.notices] == ["truncated_audio"]


def test_damage_in_the_middle_is_left_out_with_a_notice(
    decoder: SandboxedDecoder, speech: array[int], tmp_path: Path
) -> None:
    upload = encode(tmp_path / "upload", speech, next(e for e in ENCODINGS if e.name == "m4a"))
    content = bytearray(upload.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = b"\xa5" * 3000
    upload.write_bytes(content)

    audio = decoder.decode(upload, tmp_path / "pcm", job_id="a")

    assert audio.duration == pytest.approx(11.0, abs=1.0)
    assert [notice.code for notice in audio.notices] == ["damaged_audio"]


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\0\0\xff\x7f", b"\0\0\0\0"])
def test_wave_of_an_unknown_length_is_whole(size: bytes, decoder: SandboxedDecoder, tmp_path: Path) -> None:
    content = bytearray(make_wave(make_tone(2.0)))
    content[40:44] = size
    (tmp_path / "upload").write_bytes(content)

    audio = decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert audio.samples == 2 * RATE
    assert audio.notices == ()


def test_bomb_is_stopped_at_the_limit_in_little_time_and_memory(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(make_silent_flac(10))
    decoder = SandboxedDecoder(max_audio_seconds=3600, timeout_seconds=30)
    decoder.start()
    started = time.monotonic()

    with TreeMemory(decoder) as memory, pytest.raises(AudioTooLongError):
        decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    decoder.close()
    assert time.monotonic() - started < 10  # 0.2 s on a quiet machine
    assert memory.growth_bytes < 100_000_000
    assert not (tmp_path / "pcm").exists()


@pytest.mark.parametrize(("megabytes", "taken"), [(60, True), (200, False)])
def test_picture_in_a_tag_can_not_take_more_memory_than_allowed(
    megabytes: int, taken: bool, decoder: SandboxedDecoder, speech: array[int], tmp_path: Path
) -> None:
    sound = encode(tmp_path / "sound", speech, next(e for e in ENCODINGS if e.name == "mp3")).read_bytes()
    picture = megabytes * 1_000_000
    with (tmp_path / "upload").open("wb") as upload:  # a sparse file
        upload.write(b"ID3\4\0\0" + _synchsafe(picture + 23) + b"APIC" + _synchsafe(picture + 13))
        upload.write(b"\0\0\0image/jpeg\0\3\0")
        upload.seek(picture, os.SEEK_CUR)
        upload.write(sound)
    decoder.start()

    with TreeMemory(decoder) as memory:
        if taken:
            assert decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a").duration > 10
        else:
            with pytest.raises(UndecodableMediaError, match="memory"):
                decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    assert memory.growth_bytes < ALLOWED_GROWTH_BYTES


def _synchsafe(size: int) -> bytes:
    """An ID3 length: seven bits to a byte."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def test_audio_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    (tmp_path / "exact").write_bytes(make_wave(make_tone(2.0)))
    (tmp_path / "longer").write_bytes(make_wave(make_tone(2.001)))
    decoder = SandboxedDecoder(max_audio_seconds=2, timeout_seconds=30)

    assert decoder.decode(tmp_path / "exact", tmp_path / "pcm", job_id="a").duration == 2.0
    with pytest.raises(AudioTooLongError):
        decoder.decode(tmp_path / "longer", tmp_path / "pcm", job_id="b")

    decoder.close()


def test_decoded_audio_leaves_the_reserve_to_others(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(make_wave(make_tone(2.0)))
    room = [64_000]
    decoder = SandboxedDecoder(max_audio_seconds=60, timeout_seconds=30, room=lambda: room[0])

    assert decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a").duration == 2.0
    room[0] = 63_998
    with pytest.raises(AudioRoomError):
        decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="b")

    assert not (tmp_path / "pcm").exists()
    decoder.close()


def test_decoding_stops_when_others_take_the_room_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(make_wave(make_tone(300.0)))
    rooms = iter([10**9])
    decoder = SandboxedDecoder(max_audio_seconds=600, timeout_seconds=30, room=lambda: next(rooms, 0))

    with pytest.raises(AudioRoomError):
        decoder.decode(tmp_path / "upload", tmp_path / "pcm", job_id="a")

    decoder.close()


def test_ten_uploads_at_once_all_end_well(
    decoder: SandboxedDecoder, speech: array[int], tmp_path: Path
) -> None:
    samples: dict[int, int] = {}

    def run(number: int) -> None:
        samples[number] = decoder.decode(JFK, tmp_path / f"pcm{number}", job_id=str(number)).samples

    threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert samples == dict.fromkeys(range(10), len(speech))
    assert len({(tmp_path / f"pcm{number}").read_bytes() for number in range(10)}) == 1
    assert len(decoder.pids()) == 1


def test_sandbox_is_proven_at_start(decoder: SandboxedDecoder) -> None:
    status = decoder.start()

    assert status.seccomp
    assert status.problem == ""
    assert decoder.sandbox_status() == status
