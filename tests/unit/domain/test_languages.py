from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

from transcriber.domain.errors import InvalidParameterError
from transcriber.domain.languages import ALIASES, LANGUAGES, language_name, normalise_language


def codes_of_faster_whisper() -> set[str]:
    """Read from its source: importing it would load the engine."""
    spec = importlib.util.find_spec("faster_whisper")
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).with_name("tokenizer.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LANGUAGE_CODES":
            return set(ast.literal_eval(node.value))
    raise AssertionError("faster-whisper has moved its language codes")


def test_the_table_is_the_engines() -> None:
    assert set(LANGUAGES) == codes_of_faster_whisper()


def test_names_are_lower_case_and_unique() -> None:
    names = list(LANGUAGES.values())
    assert len(set(names)) == len(names)
    assert names == [name.lower() for name in names]
    assert not set(ALIASES) & (set(LANGUAGES) | set(names))
    assert set(ALIASES.values()) <= set(LANGUAGES)


@pytest.mark.parametrize("text", [None, "", "  ", "auto", "AUTO", " Auto "])
def test_auto_and_nothing_mean_detect(text) -> None:
    assert normalise_language(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" De ", "de"),
        ("English", "en"),
        ("HAITIAN CREOLE", "ht"),
        ("Castilian", "es"),
        ("jv", "jw"),
        ("javanese", "jw"),
        ("yue", "yue"),
        ("pt-BR", "pt"),
        ("zh-CN", "zh"),
        ("zh-Hant-TW", "zh"),
        ("en-US", "en"),
        ("en_US", "en"),
        ("nb-NO", "no"),
        ("sr-Latn-RS", "sr"),
        ("es-419", "es"),
    ],
)
def test_codes_and_names_in_any_case(text, code) -> None:
    assert normalise_language(text) == code


@pytest.mark.parametrize(
    "text", ["xx", "xx-US", "en-", "-US", "en US", "english-us", "klingon", "e n", "x" * 5000]
)
def test_an_unknown_language_is_refused_with_what_is_allowed(text) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        normalise_language(text)

    assert caught.value.param == "language"
    assert caught.value.given == text
    assert "auto" in caught.value.message and "en, " in caught.value.message
    assert len(caught.value.message) < 800
    assert "'english'" in caught.value.fix


def test_names_of_codes() -> None:
    assert language_name("en") == "english"
    assert language_name("tlh") == "tlh"
