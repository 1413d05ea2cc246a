"""The upload page and the diagnostics page, as they come from the server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fakes import FakeApplication
from transcriber.domain.languages import LANGUAGES
from transcriber.web.forms import OptionsForm
from transcriber.web.i18n.filters import clock, duration, plain, size
from transcriber.web.uploads.multipart import FILE_FIELDS
from uploading import BROWSER

ROOT = Path(__file__).parents[3]


class Fields(HTMLParser):
    """Collects what a page would send: names of fields, options of selects, checked boxes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inputs: list[dict[str, str | None]] = []
        self.names: set[str] = set()
        self.options: dict[str, list[str | None]] = {}
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        name = values.get("name") or ""
        if tag == "input":
            self.inputs.append(values)
        if tag in ("input", "select", "textarea") and name:
            self.names.add(name)
        if tag == "select":
            self._select = name
        if tag == "option":
            self.options.setdefault(self._select, []).append(values.get("value"))

    def checked(self, name: str) -> bool:
        return any(
            i.get("name") == name and i.get("type") == "checkbox" and "checked" in i for i in self.inputs
        )


def test_every_field_of_the_form_means_something(client: FlaskClient) -> None:
    fields = Fields(client.get("/").text)

    assert fields.names == {*OptionsForm.model_fields, FILE_FIELDS[0], "url"}


def test_form_works_without_a_script(client: FlaskClient) -> None:
    page = client.get("/").text

    assert 'method="post" action="/transcribe" enctype="multipart/form-data"' in page
    first = next(i for i in Fields(page).inputs if i.get("type") == "file")
    assert first["name"] == "audio"
    assert "hidden" not in first
    assert "disabled" not in first


def test_models_begin_with_the_default(build_client: Callable[..., FlaskClient]) -> None:
    page = build_client(WHISPER_MODEL="tiny.en").get("/").text

    assert Fields(page).options["model"] == ["tiny.en", "base"]


def test_all_languages_can_be_chosen(client: FlaskClient) -> None:
    options = Fields(client.get("/").text).options["language"]

    assert options[0] == "auto"
    assert set(options[1:]) == set(LANGUAGES)


@pytest.mark.parametrize("default", ["true", "false"])
def test_gpu_toggle_follows_the_setting(build_client: Callable[..., FlaskClient], default: str) -> None:
    page = build_client(WHISPER_DEFAULT_USE_GPU=default).get("/").text

    assert Fields(page).checked("use_gpu") is (default == "true")


def test_gpu_toggle_is_disabled_with_a_reason_when_the_policy_is_off(
    build_client: Callable[..., FlaskClient],
) -> None:
    page = build_client(WHISPER_GPU_POLICY="off").get("/").text

    assert "WHISPER_GPU_POLICY=off" in page
    assert not Fields(page).names & {"use_gpu", "require_gpu"}
    assert any("disabled" in i for i in Fields(page).inputs)


def test_diagnostics_are_json_for_programs(client: FlaskClient) -> None:
    answer = client.get("/diagnostics")

    assert answer.mimetype == "application/json"
    assert answer.json["verdict"].startswith("This server transcribes on the CPU")
    assert answer.json["engines"][0]["pid"] == 4711


def test_diagnostics_page_shows_verdict_fixes_and_settings(
    client: FlaskClient, application: FakeApplication
) -> None:
    page = client.get("/diagnostics", headers={"Accept": BROWSER}).text

    facts = application.diagnostics()
    assert facts.verdict in page
    assert facts.problems[0]["fix"] in page
    assert "it is libcublas.so.13" in page
    assert "WHISPER_GPU_POLICY" in page
    assert "int8_float32" in page


def test_report_of_the_page_is_the_json(client: FlaskClient) -> None:
    page = client.get("/diagnostics", headers={"Accept": BROWSER}).text
    report = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)

    assert report is not None
    unescaped = (
        report[1].replace("&#34;", '"').replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")
    )
    facts = client.get("/diagnostics").json
    # The charts' lists are left to the charts.
    facts["last_hour"] = {
        name: value for name, value in facts["last_hour"].items() if not isinstance(value, list)
    }
    assert json.loads(unescaped.replace("&amp;", "&")) == facts


def test_favicon_is_there(client: FlaskClient) -> None:
    with client.get("/favicon.ico") as answer:
        assert answer.status_code == 200
        assert answer.mimetype == "image/svg+xml"


def test_no_template_has_inline_style_or_script() -> None:
    for template in (ROOT / "templates").glob("*.html"):
        text = template.read_text()
        assert " style=" not in text, template.name
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template.name
        assert not re.search(r"\son[a-z]+=", text), template.name
        assert "|safe" not in text, template.name


def test_scripts_use_no_inner_html() -> None:
    for script in (ROOT / "static").glob("*.js"):
        assert "innerHTML" not in script.read_text(), script.name


def test_every_template_compiles(app: Flask) -> None:
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (2.5, "0:02.5"), (59.96, "1:00.0"), (3599.99, "1:00:00.0"), (7322.5, "2:02:02.5")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.84, "0.8 s"), (59.94, "59.9 s"), (59.97, "1 min 0 s"), (725, "12 min 5 s"), (7380, "2 h 3 min")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 1024**3, "2.1 GB"), (145217532, "145 MB")],
)
def test_size(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (True, "true"), ([], "–"), (0, "0"), (["a", 1], "a, 1"), ({"a": False}, "a: false")],
)
def test_plain(value: object, shown: str) -> None:
    assert plain(value) == shown
