"""OpenAI's spellings of fields: with and without brackets, repeated or with commas, nested, and as JSON."""

from __future__ import annotations

import pytest

from transcriber.domain.errors import InvalidParameterError
from transcriber.web.openai.fields import fields_of_form, fields_of_json


@pytest.mark.parametrize(
    "pairs",
    [
        [("languages[]", "en"), ("languages[]", "de")],
        [("languages", "en"), ("languages", "de")],
        [("languages[]", "en,de")],
        [("languages", " en , de ")],
    ],
)
def test_every_spelling_of_a_list_is_the_same(pairs: list[tuple[str, str]]) -> None:
    assert fields_of_form(pairs) == {"languages": ["en", "de"]}


def test_nested_object_is_gathered() -> None:
    pairs = [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.4")]

    assert fields_of_form(pairs) == {"chunking_strategy": {"type": "server_vad", "threshold": "0.4"}}


def test_empty_value_is_none_and_of_one_name_the_last_counts() -> None:
    assert fields_of_form([("prompt", ""), ("language", "en"), ("language", "de")]) == {"language": "de"}


def test_data_url_is_not_cut_at_its_comma() -> None:
    url = "data:audio/wav;base64,AAAA"

    assert fields_of_form([("known_speaker_references[]", url)]) == {"known_speaker_references": [url]}


def test_json_has_the_same_fields() -> None:
    body = {
        "model": "whisper-1",
        "languages": ["en", "de"],
        "include": "logprobs",
        "prompt": None,
        "stream": True,
    }

    assert fields_of_json(body) == {
        "model": "whisper-1",
        "languages": ["en", "de"],
        "include": ["logprobs"],
        "stream": True,
    }


def test_list_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"keywords\[\]"):
        fields_of_json({"keywords": [1]})
