"""No page has a text that is English in every language: with all translations marked, what is not marked is found."""

from __future__ import annotations

import gettext
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from fakes import FakeApplication, FakeService, make_finding
from transcriber.domain.jobs import Delivery, DeliveryStatus, JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import Transcription, Word
from transcriber.jobs.ids import new_job_id
from transcriber.web.i18n import language as web_language
from transcriptions import make_segment, make_transcription
from uploading import BROWSER

#: The pages say that they are in this language; its own texts have no Latin letters.
OURS = "zh"
HEADERS = {"Accept": BROWSER, "Accept-Language": OURS}
REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())

#: Elements that hold names, keys and what people and programs said. Whatever is marked with another language is, too.
FOREIGN_TAGS = frozenset({"code", "kbd", "script", "style", "time", "textarea", "option", "del", "ins"})
FOREIGN_CLASSES = frozenset({"file-name", "said", "excerpt", "times"})
SAID = ("aria-label", "title", "placeholder", "alt", "data-label", "data-copied", "data-selected")
WITHOUT_END = frozenset({"meta", "link", "input", "img"})

#: Names that are the same in every language.
NAMES = re.compile(
    r"Transcriber|GPU|RTF|CPU|API|CTranslate2|Webhook|CUDA|UTC|openapi\.json|tiny\.en|base|int8_float32"
    r"|txt|srt|vtt|tsv|json|ass|docx|talk\.mp3|speech\.flac|libcublas\.so\.12|\d+ s\b|\d{4}-\d\d-\d\dT"
)


class Marked(gettext.NullTranslations):
    """A language whose texts are the English ones between marks."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


class Unmarked(HTMLParser):
    """What a page says to people that is not marked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._open: list[tuple[str, bool]] = []
        self._said: list[str] = []
        self._text = ""
        self.feed(page)

    @property
    def found(self) -> list[str]:
        """Lines with letters, outside of marks. A mark may hold another one, and tags."""
        lines = "\n".join([*self._said, self._text])
        while (fewer := re.sub(r"⟦[^⟦⟧]*⟧", "", lines)) != lines:
            lines = fewer
        return [line.strip() for line in lines.split("\n") if re.search("[A-Za-z]", NAMES.sub("", line))]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._text += "\n"
        is_foreign = bool(self._open) and self._open[-1][1]
        if "lang" in values:
            is_foreign = values["lang"] != OURS
        if tag in FOREIGN_TAGS or FOREIGN_CLASSES & set(values.get("class", "").split()):
            is_foreign = True
        if not is_foreign:
            self._said += [values[name] for name in SAID if name in values and values.get("dir") != "auto"]
        if tag not in WITHOUT_END:
            self._open.append((tag, is_foreign))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not (self._open and self._open[-1][1]):
            self._text += data


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_language, "_catalogue", lambda language: Marked())


@pytest.fixture
def unmarked(client: FlaskClient) -> Callable[[str], list[str]]:
    """The texts of the page at this address that are not marked."""

    def look(path: str) -> list[str]:
        page = client.get(path, headers=HEADERS).text
        assert "⟦Skip to the content⟧" in page and f'<html lang="{OURS}"' in page
        return Unmarked(page).found

    return look


def add_done(service: FakeService, answer: Transcription, **changes: object) -> str:
    service.answer = answer
    job = service.add_job(new_job_id(), REQUEST, file_name="talk.mp3", **changes)
    service.finish(job.id)
    return job.id


def answers() -> Iterator[Transcription]:
    """One for each banner, each doubt and each fault."""
    word = Word(start=0.0, end=0.4, word=" Ask", probability=0.3)
    hard = {"avg_logprob": -2.0, "no_speech_prob": 0.9}
    segments = (
        make_segment(
            end=0.5, text=" Ask " + "many different letters here " * 5 + "x" * 50, words=(word,), **hard
        ),
        make_segment(id=1, start=0.2, end=4.0, text=" Thank you." * 5),
        make_segment(id=2, start=4.0, end=9.0, text=" Well.", compression_ratio=3.0),
    )
    plain = make_transcription(*segments)
    yield plain
    yield replace(plain, segments=(), device="mixed")
    on_gpu = replace(plain, gpu_used=True, device="cuda", fallback_reason=None, segments=segments[1:])
    yield on_gpu
    yield replace(on_gpu, receipt=replace(plain.receipt, device_name="Tesla T4"))
    yield replace(plain, fallback_reason=None)


@pytest.mark.parametrize("answer", list(answers()))
def test_result_page(
    unmarked: Callable[[str], list[str]], service: FakeService, client: FlaskClient, answer: Transcription
) -> None:
    job_id = add_done(service, answer)
    assert unmarked(f"/jobs/{job_id}") == []
    service._kept(job_id).write_bytes(b"x")
    changed = {"segments": [{"start": 0.0, "end": 2.0, "text": "Ask now.", "sources": []}]}
    saved = client.put(f"/jobs/{job_id}/transcript", json=changed, headers={"If-Match": '"r0"'})
    assert saved.status_code == 200

    assert unmarked(f"/jobs/{job_id}") == []


def test_every_doubt_and_fault_is_on_that_page(service: FakeService, client: FlaskClient) -> None:
    job_id = add_done(service, next(answers()))

    page = client.get(f"/jobs/{job_id}", headers=HEADERS).text
    flags = re.findall(r'<li(?: class="suspect")?>⟦(?:\d+ )?(\w+)', page)

    assert set(flags) == {
        *("Repeated", "Repetitive", "Possibly", "Low", "Too"),
        *("lines", "characters", "Overlaps"),
    }


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED])
@pytest.mark.parametrize("delivery", list(DeliveryStatus))
def test_page_of_another_job(
    unmarked: Callable[[str], list[str]], service: FakeService, status: JobStatus, delivery: DeliveryStatus
) -> None:
    error = JobError(code="no_audio_stream", message="The file has no sound track.", fix="Send one that has.")
    is_failed = status is JobStatus.FAILED
    job = service.add_job(new_job_id(), REQUEST, status=status, error=error if is_failed else None)
    sent = Delivery(
        id="msg_1",
        job_id=job.id,
        url="https://hooks.example/in",
        secret="",
        payload="{}",
        status=delivery,
        tries=1,
        created_at=job.created_at,
        next_try_at=job.created_at,
        last_status=200 if delivery is DeliveryStatus.DELIVERED else None,
        last_error="refused" if delivery is DeliveryStatus.GIVEN_UP else None,
    )
    service.outbox[job.id] = (sent,)

    assert [line for line in unmarked(f"/jobs/{job.id}") if line != "https://hooks.example/in"] == []


def test_page_of_a_running_job(unmarked: Callable[[str], list[str]], service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST)
    service.start(job.id)
    service.progress(job.id, 40)

    assert unmarked(f"/jobs/{job.id}") == []


def test_history_and_comparison(unmarked: Callable[[str], list[str]], service: FakeService) -> None:
    two = [add_done(service, answer) for answer in list(answers())[:2]]
    for status in JobStatus:
        if status is not JobStatus.SUCCEEDED:
            service.add_job(new_job_id(), REQUEST, status=status)
    paths = ["/jobs", "/jobs?limit=2", "/jobs?q=letters", "/compare?job=" + "&job=".join(two)]

    assert {path: found for path in paths if (found := unmarked(path))} == {}


@pytest.mark.parametrize(
    "query", ["", "?q=nothing", "?status=failed", "?status=failed,queued&q=nothing", "?before=1"]
)
def test_empty_history(unmarked: Callable[[str], list[str]], query: str) -> None:
    assert unmarked(f"/jobs{query}") == []


@pytest.mark.parametrize("path", ["/", "/nothing", "/docs", "/diagnostics", "/compare"])
def test_other_pages(unmarked: Callable[[str], list[str]], application: FakeApplication, path: str) -> None:
    assert unmarked(path) == []
    application.findings.append(make_finding())
    assert unmarked(path) == []


def test_what_is_not_marked_is_found() -> None:
    page = (
        '<body><p>⟦a ⟦b⟧ <kbd>c</kbd>⟧ Hello</p><p lang="en">No</p><input placeholder="Yes"><p>GPU</p></body>'
    )

    assert Unmarked(page).found == ["Yes", "Hello"]
