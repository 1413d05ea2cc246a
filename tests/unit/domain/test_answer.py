from __future__ import annotations

import json
import math

import pytest
from hypothesis import given

from transcriber.domain.answer import transcription_from_dict, transcription_to_dict, transcription_to_json
from transcriber.domain.transcript import Word
from transcriptions import any_float, make_segment, make_transcription, transcriptions, untimed


def test_answer_has_the_fields_of_the_design_in_their_order() -> None:
    answer = transcription_to_dict(make_transcription(make_segment()))

    assert list(answer) == (
        "job_id text language language_probability duration segments model task gpu_used device compute_type "
        "requested fallback_reason receipt timings rtfx warnings media speakers speaker_turns"
    ).split(" ")
    assert list(answer["segments"][0]) == (
        "id seek start end text tokens avg_logprob compression_ratio no_speech_prob temperature words"
    ).split(" ")
    assert list(answer["requested"]) == ["use_gpu", "device", "compute_type"]
    assert list(answer["fallback_reason"]) == ["code", "message", "fix"]
    assert {"device_name", "device_uuid", "windows_gpu", "windows_total", "pool_peak_bytes"} <= set(
        answer["receipt"]
    )
    assert list(answer["timings"]) == [
        "queue",
        "audio_decode",
        "model_load",
        "vad",
        "language_detection",
        "transcription",
        "diarization",
        "total",
    ]
    assert answer["warnings"] == [
        {"code": "ignored_parameter", "message": "best_of has no effect.", "param": "best_of"}
    ]


def test_no_fallback_is_null() -> None:
    assert transcription_to_dict(make_transcription(fallback_reason=None))["fallback_reason"] is None


def test_numbers_are_rounded_and_what_is_not_finite_is_null() -> None:
    segment = make_segment(start=1.23456, end=2.00049, avg_logprob=-math.inf, no_speech_prob=math.nan)

    answer = transcription_to_dict(make_transcription(segment, duration=10.99999, rtfx=6.28571))

    assert (answer["duration"], answer["rtfx"]) == (11.0, 6.286)
    shown = answer["segments"][0]
    assert (shown["start"], shown["end"], shown["avg_logprob"], shown["no_speech_prob"]) == (
        1.235,
        2.0,
        None,
        None,
    )


def test_words_are_a_list_with_or_without_words() -> None:
    word = Word(start=0.1, end=0.5, word=" Ask", probability=0.987654)
    without, with_words = make_segment(), make_segment(words=(word,))

    answer = transcription_to_dict(make_transcription(without, with_words))

    assert answer["segments"][0]["words"] == []
    assert answer["segments"][1]["words"] == [
        {"start": 0.1, "end": 0.5, "word": " Ask", "probability": 0.9877}
    ]


def test_media_facts_become_json_whatever_they_are() -> None:
    media = {
        "gain": math.nan,
        "ratio": 0.3333333333,
        "tracks": (1, 2),
        "stereo": True,
        "odd": 1j,
        "none": None,
    }

    answer = transcription_to_dict(make_transcription(media=media))

    assert answer["media"] == {
        "gain": None,
        "ratio": 0.333333,
        "tracks": [1, 2],
        "stereo": True,
        "odd": "1j",
        "none": None,
    }


def test_json_is_one_line_with_its_own_letters() -> None:
    written = transcription_to_json(make_transcription(make_segment(text=" Grüße, 世界")))

    assert written.count("\n") == 1 and written.endswith("\n")
    assert "Grüße, 世界" in written


def test_an_answer_comes_back_as_it_was() -> None:
    word = Word(start=0.1, end=0.5, word=" Ask", probability=0.5)
    original = make_transcription(make_segment(words=(word,)), make_segment(id=1, start=2.5, end=3.0))

    assert transcription_from_dict(json.loads(transcription_to_json(original))) == original


@untimed
@given(transcriptions, any_float)
def test_every_answer_is_json_and_stable(transcription, number) -> None:
    first = transcription_to_dict(
        make_transcription(*transcription.segments, rtfx=number, duration=number, language_probability=number)
    )

    again = transcription_to_dict(transcription_from_dict(json.loads(json.dumps(first, allow_nan=False))))

    assert again == first


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": 3},
        {"gpu_used": "true"},
        {"gpu_used": 1},
        {"duration": "11"},
        {"duration": True},
        {"segments": None},
        {"segments": [{}]},
        {"segments": [None]},
        {"receipt": {"surprise": 1}},
        {"requested": None},
        {"media": None},
        {"timings": []},
    ],
)
def test_a_damaged_answer_is_refused(change) -> None:
    data = transcription_to_dict(make_transcription(make_segment())) | change

    with pytest.raises(ValueError, match="not a transcription"):
        transcription_from_dict(data)


def test_receipt_of_a_newer_version_is_read_without_what_this_one_does_not_know() -> None:
    """Nodes of a fleet may be one version apart."""
    answer = json.loads(transcription_to_json(make_transcription()))
    answer["receipt"]["of_tomorrow"] = 1
    answer["receipt"]["engines"] = [
        {"claimed_device": "cpu", "compute_type": "int8", "requested_compute_type": "int8", "engine_pid": 7}
        | {"of_tomorrow": 1}
    ]

    (engine,) = transcription_from_dict(answer).receipt.engines

    assert engine.engine_pid == 7 and engine.worker is None


def test_an_answer_without_a_field_is_refused() -> None:
    data = transcription_to_dict(make_transcription())
    del data["gpu_used"]

    with pytest.raises(ValueError, match="gpu_used"):
        transcription_from_dict(data)
