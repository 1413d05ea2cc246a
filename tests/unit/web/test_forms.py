"""What each option takes, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from transcriber.domain.errors import InvalidParameterError
from transcriber.domain.options import RESPONSE_FORMATS, TASKS
from transcriber.web.forms import JobForm, TranscriptionForm, parse_fields, parse_form, parse_jobs_query

DEFAULTS: dict[str, Any] = {"model": "base", "use_gpu": True, "vad_filter": True}


def test_nothing_said_gives_the_defaults_of_the_installation() -> None:
    request = parse_form({}).to_request(model="small", use_gpu=False, vad_filter=False)

    assert request.model == "small"
    assert request.use_gpu is False
    assert request.require_gpu is False
    assert request.options.language is None
    assert request.options.task == "transcribe"
    assert request.options.beam_size == 5
    assert request.options.temperature is None
    assert request.options.vad_filter is False
    assert request.ignored == ()


@pytest.mark.parametrize("name", sorted(TranscriptionForm.model_fields))
def test_empty_value_is_the_same_as_none(name: str) -> None:
    assert parse_form({name: "  "}) == parse_form({})


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "On"])
def test_words_for_true(word: str) -> None:
    assert parse_form({"word_timestamps": word}).word_timestamps is True


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "FALSE", "No"])
def test_words_for_false(word: str) -> None:
    assert parse_form({"vad_filter": word}).vad_filter is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("use_gpu", "maybe"),
        ("require_gpu", "2"),
        ("vad_filter", "t"),
        ("word_timestamps", "ja"),
        ("condition_on_previous_text", "-"),
        ("beam_size", "0"),
        ("beam_size", "11"),
        ("beam_size", "2.5"),
        ("beam_size", "many"),
        ("beam_size", "1_0"),
        ("beam_size", "5.0"),
        ("beam_size", "٥"),
        ("temperature", "0_1"),
        ("temperature", "0x1"),
        ("temperature", "."),
        ("temperature", "1.01"),
        ("temperature", "-0.1"),
        ("temperature", "nan"),
        ("temperature", "hot"),
        ("task", "summarise"),
        ("response_format", "docx"),
        ("initial_prompt", "x" * 4001),
        ("hotwords", "x" * 1001),
        ("model", "x" * 201),
    ],
)
def test_wrong_value_names_parameter_value_and_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_form({name: value})

    assert caught.value.param == name
    assert caught.value.given == value
    assert caught.value.allowed == TranscriptionForm.model_fields[name].description
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(("given", "code"), [("German", "de"), ("de", "de"), ("AUTO", None), ("auto", None)])
def test_language_by_code_or_name(given: str, code: str | None) -> None:
    assert parse_form({"language": given}).to_request(**DEFAULTS).options.language == code


def test_unknown_language_is_refused() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_form({"language": "klingon"}).to_request(**DEFAULTS)

    assert caught.value.param == "language"


def test_requiring_the_gpu_asks_for_it() -> None:
    request = parse_form({"require_gpu": "true"}).to_request(model="base", use_gpu=False, vad_filter=True)

    assert request.use_gpu is True
    assert request.require_gpu is True


def test_requiring_and_refusing_the_gpu_is_a_contradiction() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_form({"require_gpu": "true", "use_gpu": "false"}).to_request(**DEFAULTS)

    assert caught.value.param == "require_gpu"


def test_unknown_fields_are_kept_by_name_and_bounded() -> None:
    request = parse_form({f"field{i:03}" + "x" * 100: "1" for i in range(50)}).to_request(**DEFAULTS)

    assert len(request.ignored) == 20
    assert all(len(name) <= 64 for name in request.ignored)


def test_later_sources_win() -> None:
    assert parse_form({"task": "translate", "beam_size": "2"}, {"task": "transcribe"}).task == "transcribe"


def test_choices_are_those_of_the_domain() -> None:
    for task in TASKS:
        assert parse_form({"task": task}).task == task
    for response_format in RESPONSE_FORMATS:
        assert parse_form({"response_format": response_format}).response_format == response_format


@pytest.mark.parametrize("given", ["0.5", ".5", "+0.5", "5e-1", "0.50", "00.5"])
def test_decimal_numbers_as_programs_write_them(given: str) -> None:
    assert parse_form({"temperature": given}).temperature == 0.5


@pytest.mark.parametrize(("given", "priority"), [("-100", -100), ("+7", 7), ("007", 7)])
def test_whole_numbers_with_a_sign(given: str, priority: int) -> None:
    assert parse_fields(JobForm, {"priority": given}).priority == priority


@pytest.mark.parametrize("name", ["limit", "before"])
def test_page_of_jobs_takes_plain_digits_alone(name: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_jobs_query([], {name: "1_0"})
