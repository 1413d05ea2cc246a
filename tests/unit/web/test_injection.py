"""A file whose name, tags and spoken words carry markup: text in every export, on every page, in every stream."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from hostile_texts import ATTACKS, NAME, is_plain
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import Word
from transcriber.formats.table import DOWNLOADS, FORMATS
from transcriber.jobs.ids import new_job_id
from transcriber.web.file_names import MAX_NAME
from transcriptions import make_segment, make_transcription
from uploading import BROWSER, post_file

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
HTML = {"Accept": BROWSER}

#: Everything that a segment may come to hold; the words are unsure, so that the page gives each an element.
HOSTILE = make_transcription(
    *(
        make_segment(
            id=at,
            start=2.0 * at,
            end=2.0 * at + 2,
            text=f" {text}",
            words=(Word(start=2.0 * at, end=2.0 * at + 1, word=f" {text}", probability=0.1),),
        )
        for at, text in enumerate(ATTACKS)
    ),
    media={"container": "flac", "title": ATTACKS[0], "artist": ATTACKS[1]},
)

WORDPROCESSING = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


class Read(HTMLParser):
    """A page as a browser takes it: its elements, its attributes, and its text without scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def add_done(service: FakeService, answer: object, **changes: object) -> str:
    service.answer = answer  # type: ignore[assignment]
    job = service.add_job(new_job_id(), REQUEST, **changes)
    service.finish(job.id)
    return job.id


def live_page(service: FakeService, text: str, name: str) -> str:
    job = service.add_job(new_job_id(), REQUEST, file_name=name)
    service.start(job.id)
    for one in ATTACKS if text else ("plain",):
        service.say(job.id, f" {one}")
    return f"/jobs/{job.id}"


def comparison(service: FakeService, text: str, name: str) -> str:
    other = add_done(service, make_transcription(make_segment()))
    return f"/compare?job={shown(service, text, name)}&job={other}"


def shown(service: FakeService, text: str, name: str) -> str:
    return add_done(service, HOSTILE if text else make_transcription(make_segment()), file_name=name)


def search(service: FakeService, text: str, name: str) -> str:
    shown(service, text, name)
    return "/jobs?q=window" if text else "/jobs?q=country"


def history(service: FakeService, text: str, name: str) -> str:
    shown(service, text, name)
    return "/jobs"


def nothing_found(service: FakeService, text: str, name: str) -> str:
    return f"/jobs?q={quote(name)}"


PAGES: dict[str, Callable[[FakeService, str, str], str]] = {
    "live": live_page,
    "result": lambda service, text, name: f"/jobs/{shown(service, text, name)}",
    "history": history,
    "search": search,
    "nothing found": nothing_found,
    "comparison": comparison,
}


@pytest.mark.parametrize("page", PAGES)
def test_page_shows_it_as_text(client: FlaskClient, service: FakeService, page: str) -> None:
    usual = Read(client.get(PAGES[page](service, "", "talk.wav"), headers=HTML).text)
    hostile = Read(client.get(PAGES[page](service, "hostile", NAME), headers=HTML).text)

    assert_harmless(hostile, usual)
    assert NAME in hostile.text
    if page in ("live", "result"):
        assert [text for text in ATTACKS if text.strip() not in hostile.text] == []


def test_answer_of_the_plain_form_shows_it_as_text(client: FlaskClient, service: FakeService) -> None:
    usual = Read(post_file(client, accept=BROWSER).text)
    service.answer = HOSTILE
    name = NAME.replace('"', "'").replace("\\", "|")  # as a header can carry it
    hostile = Read(post_file(client, accept=BROWSER, name=name).text)

    assert_harmless(hostile, usual)
    assert name[:MAX_NAME].strip() in hostile.text


def assert_harmless(hostile: Read, usual: Read) -> None:
    """No element, handler or address that the page does not have anyway."""
    assert set(hostile.tags) - {"ul", "li", "span", "del", "ins", "mark"} <= set(usual.tags)
    assert hostile.tags.count("script") == usual.tags.count("script")
    assert hostile.tags.count("img") == usual.tags.count("img")
    names = {name for name, _ in hostile.attributes}
    assert not [name for name in names if name.startswith("on")]
    addresses = {value for name, value in hostile.attributes if name in ("href", "src", "action")}
    assert all(re.match(r"[/#]", address) for address in addresses)


@pytest.mark.parametrize("ending", DOWNLOADS)
def test_download_holds_it_as_text(client: FlaskClient, service: FakeService, ending: str) -> None:
    job_id = add_done(service, HOSTILE, file_name=NAME)

    answer = client.get(f"/jobs/{job_id}/transcript.{ending}")

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content_type.partition(";")[0] not in ("text/html", "image/svg+xml")
    assert re.fullmatch(
        r'attachment; filename="[^"<>]*"(; filename\*=[\w\'%.-]+)?', answer.headers["Content-Disposition"]
    )
    READERS[ending](answer.data)


@pytest.mark.parametrize("response_format", FORMATS)
def test_answer_holds_it_as_text(client: FlaskClient, service: FakeService, response_format: str) -> None:
    service.answer = HOSTILE

    answer = post_file(client, query=f"?response_format={response_format}", accept=BROWSER)

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    READERS[{"text": "txt"}.get(response_format, response_format)](answer.data)


def read_json(data: bytes) -> None:
    """Data for programs: all of it, as it was said."""
    assert [segment["text"] for segment in json.loads(data)["segments"]] == [f" {text}" for text in ATTACKS]
    assert b"\x1b" not in data


def read_text(data: bytes) -> None:
    text = data.decode()
    assert is_plain(text.replace("\n", ""))
    assert ATTACKS[0] in text


def read_tsv(data: bytes) -> None:
    rows = [line.split("\t") for line in data.decode().removesuffix("\n").split("\n")]
    assert len(rows) == 1 + len(SAID)
    assert all(len(row) == 3 and row[0].isdigit() and row[1].isdigit() for row in rows[1:])
    for row, said in zip(rows[1:], SAID, strict=True):
        assert is_plain(row[2])
        assert not re.match("[=+@]|-.*[(|]", row[2])
        assert row[2].replace("\u2060", "") == said


def read_srt(data: bytes) -> None:
    blocks = data.decode().removesuffix("\n").split("\n\n")
    assert len(blocks) == len(SAID)
    for number, block in enumerate(blocks, start=1):
        counted, times, text = block.split("\n")
        assert counted == str(number)
        assert re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", times)
        assert is_plain(text) and not re.search(r"<[/A-Za-z]|\{\\|-->", text)


def read_vtt(data: bytes) -> None:
    head, *blocks = data.decode().removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    assert len(blocks) == len(SAID)
    for block, said in zip(blocks, SAID, strict=True):
        times, text = block.split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", times)
        assert is_plain(text) and not re.search("[<>]", text)
        assert text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == said


def read_ass(data: bytes) -> None:
    events = data.decode().split("Effect, Text\n")[1].removesuffix("\n").split("\n")
    assert len(events) == len(SAID)
    for event in events:
        assert re.match(r"Dialogue: 0,\d:\d\d:\d\d\.\d\d,\d:\d\d:\d\d\.\d\d,Default,,0,0,0,,", event)
        text = event.split(",,0,0,0,,", 1)[1]
        assert is_plain(text) and not re.search(r"(?<!\\)[{}]|\\[A-Za-z]", text)


def read_docx(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        document = ElementTree.fromstring(package.read("word/document.xml"))
    tags = {element.tag.removeprefix(WORDPROCESSING) for element in document.iter()}
    assert tags & {"instrText", "fldSimple", "hyperlink", "drawing", "object"} == set()
    paragraphs = document.iter(f"{WORDPROCESSING}p")
    texts = ["".join(part.text or "" for part in one.iter(f"{WORDPROCESSING}t"))[8:] for one in paragraphs]
    assert texts == [said.replace("\ufffe", "").replace("\uffff", "") for said in SAID]
    assert all(is_plain(text) for text in texts)


READERS: dict[str, Callable[[bytes], None]] = {
    "json": read_json,
    "verbose_json": read_json,
    "txt": read_text,
    "tsv": read_tsv,
    "srt": read_srt,
    "vtt": read_vtt,
    "ass": read_ass,
    "docx": read_docx,
}


def shown_line(text: str) -> str:
    """What one line of an export may show of it: every letter, and nothing that commands."""
    joined = " ".join(part for part in text.replace("\t", " ").splitlines() if part.strip())
    return "".join(c for c in joined if is_plain(c)).strip()


SAID = [line for line in map(shown_line, ATTACKS) if line]


def test_stream_holds_it_as_data(client: FlaskClient, service: FakeService) -> None:
    path = live_page(service, "hostile", NAME)
    service.finish(path.rpartition("/")[2])

    events = client.get(f"{path}/stream").text.split("\n\n")

    said = [
        json.loads(line.removeprefix("data: "))["text"]
        for event in events
        if "event: segment" in event
        for line in event.split("\n")
        if line.startswith("data: ")
    ]
    assert said == [f" {text}" for text in ATTACKS]


def test_half_a_character_is_no_text(client: FlaskClient, service: FakeService) -> None:
    """A lone surrogate could be kept as JSON, and then be written by no export."""
    job_id = add_done(service, HOSTILE)

    answer = client.put(
        f"/jobs/{job_id}/transcript",
        data='{"segments": [{"start": 0, "end": 1, "text": "\\ud800"}]}',
        content_type="application/json",
        headers={"If-Match": '"r0"'},
    )

    assert answer.status_code in (400, 422)
    renamed = client.patch(f"/jobs/{job_id}", data='{"title": "a\\ud800b"}', content_type="application/json")
    assert renamed.status_code in (400, 422) or renamed.json["title"] == "ab"
