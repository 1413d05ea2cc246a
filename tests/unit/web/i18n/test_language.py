"""The pages in five languages: by the browser's wish, or as chosen; every text is translated."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient

from transcriber.web.errors import classes_by_code
from transcriber.web.i18n.error_strings import ERROR_WORDS
from transcriber.web.i18n.js_strings import WORDS
from transcriber.web.i18n.language import COOKIE, FOLDER, LANGUAGES, _catalogue, translated, translated_number
from uploading import BROWSER

HEADINGS = {
    "en": "Transcribe recordings",
    "es": "Transcribir grabaciones",
    "de": "Aufnahmen transkribieren",
    "fr": "Transcrire des enregistrements",
    "zh": "转录录音",
}


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        ("", "en"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr-CA", "fr"),
        ("zh-Hant-TW,zh;q=0.9", "zh"),
        ("pt,es;q=0.8,en;q=0.7", "es"),
        ("ja", "en"),
        ("*;q=0.5", "en"),
        ("garbage;;q=x", "en"),
    ],
)
def test_page_follows_the_browser(client: FlaskClient, wish: str, language: str) -> None:
    page = client.get("/", headers={"Accept-Language": wish}).text

    assert f'<html lang="{language}" dir="ltr">' in page
    assert HEADINGS[language] in page


def test_chosen_language_beats_the_browser_and_stays(app: Flask) -> None:
    client = app.test_client()
    answer = client.post(
        "/language?next=/jobs", data={"language": "fr"}, headers={"Origin": "http://localhost"}
    )

    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs")
    cookie = client.get_cookie(COOKIE)
    assert cookie is not None
    assert (cookie.value, cookie.http_only, cookie.same_site) == ("fr", True, "Lax")
    page = client.get("/", headers={"Accept-Language": "de"}).text
    assert '<html lang="fr"' in page
    assert re.search(r'value="fr" lang="fr" aria-current="true"', page)


def test_other_languages_are_refused_and_other_sites_not_gone_to(client: FlaskClient) -> None:
    assert client.post("/language", data={"language": "xx"}).status_code == 422
    answer = client.post("/language?next=//evil.example", data={"language": "de"})
    assert answer.headers["Location"] == "/"
    assert '<html lang="en"' in client.get("/", headers={"Cookie": f"{COOKIE}=../../etc"}).text


@pytest.mark.parametrize("path", ["/", "/jobs", "/diagnostics", "/docs", "/nothing"])
@pytest.mark.parametrize("language", list(LANGUAGES))
def test_every_page_is_there_in_every_language(client: FlaskClient, path: str, language: str) -> None:
    page = client.get(path, headers={"Accept-Language": language, "Accept": BROWSER}).text

    assert f'<html lang="{language}"' in page
    assert translated_in(language, "Skip to the content") in unescape(page)


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_scripts_get_their_words_from_the_page(client: FlaskClient, language: str) -> None:
    page = client.get("/", headers={"Accept-Language": language}).text
    meta = re.search(r'<meta name="words" content="([^"]*)">', page)
    assert meta is not None

    words = json.loads(unescape(meta[1]))

    assert words.keys() == WORDS["upload"].keys()
    assert words["choose_first"] == translated_in(language, "Choose a file first.") != "Choose a file first."


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_compiled_texts_are_those_of_the_source(language: str) -> None:
    """scripts/translations --check compares them byte by byte; this needs no tools."""
    source = (FOLDER / language / "LC_MESSAGES" / "messages.po").read_text()
    blocks = re.findall(r'msgid ((?:".*"\n)+)msgstr ((?:".*"\n)+)', source + "\n")
    texts = {joined(one): joined(other) for one, other in blocks if joined(one)}

    assert len(texts) > 100
    assert all(texts.values())
    assert {text: translated_in(language, text) for text in texts} == texts


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", ["0 tries", "1 try", "2 tries"]),
        ("de", ["0 Versuche", "1 Versuch", "2 Versuche"]),
        ("es", ["0 intentos", "1 intento", "2 intentos"]),
        ("fr", ["0 essai", "1 essai", "2 essais"]),
        ("zh", ["0 次尝试", "1 次尝试", "2 次尝试"]),
    ],
)
def test_numbers_take_the_form_of_the_language(app: Flask, language: str, shown: list[str]) -> None:
    with app.test_request_context(headers={"Accept-Language": language}):
        counted = [translated_number("%(num)s try", "%(num)s tries", number) for number in range(3)]

    assert [text % {"num": number} for number, text in enumerate(counted)] == shown


def joined(lines: str) -> str:
    return "".join(json.loads(line) for line in lines.splitlines())


def translated_in(language: str, text: str) -> str:
    return _catalogue(language).gettext(text)


def test_outside_of_a_request_it_is_english() -> None:
    assert translated("Sign in") == "Sign in"
    assert translated("") == ""


def test_errors_are_said_in_the_language_of_the_page_with_their_code(client: FlaskClient) -> None:
    english = client.get("/jobs/job_0123456789abcdefghijkl", headers={"Accept": BROWSER}).text
    german = client.get(
        "/jobs/job_0123456789abcdefghijkl", headers={"Accept": BROWSER, "Accept-Language": "de"}
    ).text
    program = client.get("/jobs/job_0123456789abcdefghijkl", headers={"Accept-Language": "de"}).json

    assert '<strong lang="en">There is no such job.</strong>' in english
    assert '<strong lang="de">Diesen Auftrag gibt es nicht.</strong>' in german
    assert "404 job_not_found" in german
    assert program["error"]["message"] == "There is no such job."


def test_scripts_of_a_page_get_the_errors_in_its_language(client: FlaskClient) -> None:
    german = client.get("/", headers={"Accept": BROWSER, "Accept-Language": "de"}).text
    english = client.get("/", headers={"Accept": BROWSER}).text

    assert "Zu viele Aufträge warten." in unescape(german)
    assert '<meta name="errors" content="{}">' in english


def test_every_error_with_words_is_one_that_there_is() -> None:
    assert set(ERROR_WORDS) <= set(classes_by_code())
