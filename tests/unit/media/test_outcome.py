"""A child's last message is checked field by field; it may come from an attacker."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from transcriber.domain.errors import DecoderCrashedError, DecodeTimeoutError, TranscriberError
from transcriber.media.child import decode_process, decoding, pcm, tracks
from transcriber.media.messages import MessageError, encode_message, parse_message
from transcriber.media.outcome import ERRORS, NOTICES, build_audio, build_error, error_of_exit

DONE: dict[str, Any] = {
    "type": "done",
    "samples": 3,
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "codec": "aac",
    "channels": 2,
    "sample_rate": 44100,
    "audio_streams": 1,
    "stream_index": 0,
    "notices": ["truncated_audio", "never_heard_of"],
    "peaks": "AP8=",
    "pcm_channels": 1,
    "channels_used": "left",
    "gain_db": 12.5,
    "tracks": [
        {
            "codec": "aac",
            "channels": 2,
            "sample_rate": 44100,
            "language": "eng",
            "marks": ["default"],
            "is_used": True,
        }
    ],
}


@pytest.fixture
def three_samples(tmp_path: Path) -> Path:
    path = tmp_path / "a.pcm"
    path.write_bytes(bytes(6))
    return path


def test_facts_are_taken_over_and_notices_worded_here(three_samples: Path) -> None:
    audio = build_audio(DONE, three_samples, 3)

    assert (audio.samples, audio.codec, audio.channels, audio.peaks) == (3, "aac", 2, "AP8=")
    assert (audio.channels_used, audio.gain_db, audio.pcm_channels) == ("left", 12.5, 1)
    assert [(track.language, track.marks, track.is_used) for track in audio.tracks] == [
        ("eng", ("default",), True)
    ]
    assert [(n.code, n.message, n.param) for n in audio.notices] == [
        ("truncated_audio", NOTICES["truncated_audio"], "audio")
    ]


@pytest.mark.parametrize(
    "lie",
    [
        {"samples": 4},
        {"samples": 2},
        {"samples": 0},
        {"samples": -3},
        {"samples": True},
        {"samples": "3"},
        {"samples": 10**30},
        {"container": "<script>"},
        {"container": "x" * 65},
        {"container": None},
        {"codec": "a\nb"},
        {"channels": -1},
        {"channels": 1.5},
        {"sample_rate": None},
        {"stream_index": [0]},
        {"notices": "truncated_audio"},
        {"notices": [{}]},
        {"pcm_channels": 0},
        {"pcm_channels": 3},
        {"pcm_channels": 9},
        {"channels_used": "loudest"},
        {"gain_db": -1},
        {"gain_db": float("nan")},
        {"gain_db": True},
        {"tracks": None},
        {"tracks": ["aac"]},
        {"tracks": [DONE["tracks"][0] | {"marks": ["<b>"]}]},
        {"tracks": [DONE["tracks"][0] | {"language": "<b>"}]},
        {"peaks": None},
        {"peaks": "<b>"},
        {"peaks": "AAAA" * 400},
    ],
)
def test_message_that_does_not_add_up_is_a_crashed_decoder(lie: dict[str, Any], three_samples: Path) -> None:
    with pytest.raises(DecoderCrashedError):
        build_audio(DONE | lie, three_samples, 3)


def test_more_samples_than_allowed_is_a_crashed_decoder(three_samples: Path) -> None:
    with pytest.raises(DecoderCrashedError):
        build_audio(DONE, three_samples, 2)


@pytest.mark.parametrize("reason", [None, "", "rm -rf", 5, ["too_long"]])
def test_unknown_reason_is_a_crashed_decoder(reason: object) -> None:
    assert isinstance(build_error({"type": "error", "reason": reason}), DecoderCrashedError)


def test_every_reason_that_a_child_gives_has_an_error() -> None:
    sources = "".join(
        Path(str(module.__file__)).read_text() for module in (decode_process, decoding, pcm, tracks)
    )
    given = set(re.findall(r'MediaRefusedError\("(\w+)"', sources)) | set(
        re.findall(r'"reason": "(\w+)"', sources)
    )
    given |= {"nothing_decoded", "no_samples"}  # chosen between in one expression

    assert given == set(ERRORS)


@pytest.mark.parametrize("reason", sorted(ERRORS))
def test_every_error_has_a_code_a_message_and_a_fix(reason: str) -> None:
    error = build_error({"reason": reason})

    assert isinstance(error, TranscriberError)
    assert error.code != "internal_error" and error.message and error.fix


@pytest.mark.parametrize(
    ("returncode", "kind"),
    [
        (-signal.SIGALRM, DecodeTimeoutError),
        (-signal.SIGXCPU, DecodeTimeoutError),
        (-signal.SIGSEGV, DecoderCrashedError),
        (-signal.SIGKILL, DecoderCrashedError),
        (1, DecoderCrashedError),
        (None, DecoderCrashedError),
    ],
)
def test_silent_end_is_explained_by_its_signal(returncode: int | None, kind: type[Exception]) -> None:
    assert type(error_of_exit(returncode)) is kind


def test_messages_survive_the_socket() -> None:
    assert parse_message(encode_message({"type": "done", "samples": 3})) == {"type": "done", "samples": 3}


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"3", b"{}", b'{"type":3}', b'{"type":"do', b"[" * 9000]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse_message(data)
