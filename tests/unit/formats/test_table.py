from __future__ import annotations

import json

import pytest
from hypothesis import given

from transcriber.domain.options import RESPONSE_FORMATS
from transcriber.domain.transcript import Word
from transcriber.formats.table import FORMATS
from transcriptions import make_segment, make_transcription, transcriptions, untimed

SEGMENT_FIELDS = {
    "id": int,
    "seek": int,
    "start": float,
    "end": float,
    "text": str,
    "tokens": list,
    "temperature": float,
    "avg_logprob": float,
    "compression_ratio": float,
    "no_speech_prob": float,
}


def test_every_response_format_has_its_row() -> None:
    assert set(FORMATS) == set(RESPONSE_FORMATS)


@pytest.mark.parametrize(
    ("name", "content_type", "extension"),
    [
        ("json", "application/json", "json"),
        ("verbose_json", "application/json", "json"),
        ("text", "text/plain; charset=utf-8", "txt"),
        ("srt", "application/x-subrip; charset=utf-8", "srt"),
        ("vtt", "text/vtt; charset=utf-8", "vtt"),
        ("tsv", "text/tab-separated-values; charset=utf-8", "tsv"),
    ],
)
def test_content_type_and_extension(name, content_type, extension) -> None:
    assert (FORMATS[name].content_type, FORMATS[name].extension) == (content_type, extension)


@untimed
@given(transcriptions)
def test_every_format_renders_everything_as_utf8(transcription) -> None:
    for row in FORMATS.values():
        rendered = row.render(transcription)
        assert rendered.encode().decode() == rendered
        if row.extension == "json":
            json.loads(rendered, parse_constant=pytest.fail)


def test_text_is_the_words_and_a_newline() -> None:
    assert FORMATS["text"].render(make_transcription(make_segment(text=" Hello. "))) == "Hello.\n"


def test_json_is_the_whole_answer() -> None:
    answer = json.loads(FORMATS["json"].render(make_transcription(make_segment())))

    assert (answer["gpu_used"], answer["device"], answer["compute_type"]) == (False, "cpu", "int8_float32")
    assert answer["receipt"]["windows_total"] == 1


def test_verbose_json_has_what_openai_clients_read() -> None:
    answer = json.loads(FORMATS["verbose_json"].render(make_transcription(make_segment(), duration=10.2)))

    assert answer["task"] == "transcribe"
    assert (answer["language"], answer["language_code"]) == ("english", "en")
    assert answer["duration"] == 10.2
    assert answer["usage"] == {"type": "duration", "seconds": 11}
    assert "words" not in answer
    assert answer["segments"][0]["text"].startswith(" Ask")


def test_verbose_json_tells_the_truth_about_the_device() -> None:
    answer = json.loads(FORMATS["verbose_json"].render(make_transcription(make_segment())))

    assert answer["gpu_used"] is False
    assert (answer["device"], answer["compute_type"]) == ("cpu", "int8_float32")
    assert answer["fallback_reason"]["code"] == "no_driver"
    assert answer["warnings"][0]["param"] == "best_of"


def test_verbose_json_puts_words_at_the_top_when_they_were_asked_for() -> None:
    first = make_segment(words=(Word(start=0.12345, end=0.5, word=" Ask", probability=0.9),))
    second = make_segment(id=1, words=())

    answer = json.loads(FORMATS["verbose_json"].render(make_transcription(first, second)))

    assert answer["words"] == [{"word": "Ask", "start": 0.123, "end": 0.5}]
    assert all("words" not in segment for segment in answer["segments"])


@untimed
@given(transcriptions)
def test_verbose_json_segments_have_ten_fields_of_their_kind(transcription) -> None:
    answer = json.loads(FORMATS["verbose_json"].render(transcription))

    for segment in answer["segments"]:
        assert {name: type(value) for name, value in segment.items()} == SEGMENT_FIELDS


@pytest.mark.parametrize("text", ['"=HYPERLINK(""http://x"",""a"")"', "=1+1", "+1", "@a", "-2+3(4)"])
def test_no_row_of_the_table_begins_a_formula_or_a_quoted_field(text: str) -> None:
    rendered = FORMATS["tsv"].render(make_transcription(segments=(make_segment(text=text),)))

    assert rendered.splitlines()[1].split("\t")[2] == "\u2060" + text
