"""Correcting a transcript in Chromium: nothing is lost, whatever happens meanwhile. Saves are held by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from axe import violations_in_light_and_dark
from fakes import FakeService
from transcriber.domain.edits import EditedSegment
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import Speaker
from transcriber.jobs.ids import new_job_id
from transcriptions import make_segment, make_transcription

pytestmark = [
    pytest.mark.browser,
    # Werkzeug's own server does not close a file whose reader has gone; gunicorn does.
    pytest.mark.filterwarnings(
        "ignore:.*unclosed file:ResourceWarning",
        "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning",
    ),
]

VISIT = Callable[..., Any]
REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
JFK = Path(__file__).resolve().parents[1] / "data" / "jfk.flac"
TEXTS = ("Ask not what", "your country can do", "for you.")
ANSWER = make_transcription(
    *(
        make_segment(id=at, start=3.0 * at, end=3.0 * at + 3, text=f" {text}", speaker="ABA"[at])
        for at, text in enumerate(TEXTS)
    ),
    speakers=(Speaker(id="A", name="", seconds=6.0), Speaker(id="B", name="Bob", seconds=3.0)),
)

#: A page whose storage is blocked, as in a private window with all site data refused.
NO_STORAGE = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});"

#: What a page on plain http does not have.
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined});"


@pytest.fixture
def job_id(service: FakeService) -> str:
    """A finished job with two speakers whose recording is there."""
    service.answer = ANSWER
    job = service.add_job(new_job_id(), REQUEST, file_name="talk.flac")
    service._kept(job.id).write_bytes(JFK.read_bytes())
    service.finish(job.id)
    return job.id


class HeldSaves:
    """Saves of one page that wait until the test lets them go on."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.routes: list[Route] = []
        page.route("**/transcript", self._hold)

    def _hold(self, route: Route) -> None:
        if route.request.method == "PUT":
            self.routes.append(route)
        else:
            route.continue_()

    def wait(self) -> None:
        """Until there is one."""
        for _ in range(500):
            if self.routes:
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("nothing was saved")

    def let_go(self) -> None:
        """The oldest one goes on."""
        self.wait()
        self.routes.pop(0).continue_()


def write(page: Page, row: int, text: str) -> None:
    page.locator(".said").nth(row).dblclick()
    page.locator(".editor textarea").fill(text)
    page.locator("[data-done]").click()


def kept(service: FakeService, job_id: str) -> list[str]:
    return [one.text.strip() for one in service.transcripts.get(job_id).transcription.segments]


def texts(page: Page) -> list[str]:
    return page.locator(".said").all_inner_texts()


def test_what_is_corrected_during_a_save_is_saved_by_the_next(
    visit: VISIT, service: FakeService, job_id: str
) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    saves = HeldSaves(page)
    write(page, 0, "First")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saving…")).to_be_visible()
    write(page, 1, "Second")
    saves.let_go()

    expect(page.get_by_text("Unsaved changes")).to_be_visible()
    assert kept(service, job_id) == ["First", *TEXTS[1:]]
    page.get_by_role("button", name="Save", exact=True).click()
    saves.let_go()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id) == ["First", "Second", TEXTS[2]]


def test_second_save_waits_for_the_first(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    saves = HeldSaves(page)
    write(page, 0, "First")
    page.keyboard.press("Control+s")
    page.keyboard.press("Control+s")
    write(page, 1, "Second")
    page.keyboard.press("Control+s")
    saves.wait()
    assert len(saves.routes) == 1
    saves.let_go()
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        saves.let_go()

    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id) == ["First", "Second", TEXTS[2]]
    assert service.transcripts.get(job_id).edit.revision == 2


def test_undo_goes_on_over_a_save(visit: VISIT, service: FakeService, job_id: str) -> None:
    """Of a segment that was split and saved, the undo brings the old one back, which is saved again."""
    page: Page = visit(f"/jobs/{job_id}").page
    page.locator(".said").first.dblclick()
    page.locator(".editor textarea").evaluate("(area) => area.setSelectionRange(3, 3)")
    page.get_by_role("button", name="Split here").click()
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id) == ["Ask", "not what", *TEXTS[1:]]
    page.keyboard.press("Control+z")
    expect(page.get_by_text("Unsaved changes")).to_be_visible()
    page.keyboard.press("Control+s")

    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id) == list(TEXTS)
    page.keyboard.press("Control+Shift+Z")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id) == ["Ask", "not what", *TEXTS[1:]]


@pytest.mark.parametrize(("key", "code"), [("S", "KeyS"), ("ы", "KeyS")])
def test_saving_by_key_needs_no_latin_letters(
    visit: VISIT, service: FakeService, job_id: str, key: str, code: str
) -> None:
    """Caps Lock, and a Cyrillic layout."""
    page: Page = visit(f"/jobs/{job_id}").page
    write(page, 0, "First")
    is_left_to_the_browser = page.evaluate(
        "(init) => document.body.dispatchEvent(new KeyboardEvent('keydown', {...init, ctrlKey: true, bubbles: true, cancelable: true}))",
        {"key": key, "code": code},
    )

    assert is_left_to_the_browser is False
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id)[0] == "First"


def test_changes_of_two_people_are_put_together(visit: VISIT, service: FakeService, job_id: str) -> None:
    visited = visit(f"/jobs/{job_id}")
    page: Page = visited.page
    change_elsewhere(service, job_id, 2)
    write(page, 0, "Mine")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("Changes that someone else made")).to_be_visible()
    assert kept(service, job_id) == ["Mine", TEXTS[1], "Theirs"]
    assert texts(page) == ["Mine", TEXTS[1], "Theirs"]
    visited.complaints[:] = [text for text in visited.complaints if "412" not in text]


def test_conflict_offers_to_copy_ones_own_version(visit: VISIT, service: FakeService, job_id: str) -> None:
    visited = visit(f"/jobs/{job_id}", permissions=["clipboard-read", "clipboard-write"])
    page: Page = visited.page
    change_elsewhere(service, job_id, 0)
    write(page, 0, "Mine")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("Someone else has changed the same segments")).to_be_visible()
    assert texts(page)[0] == "Mine"
    page.get_by_role("button", name="Copy my version").click()
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(["Mine", *TEXTS[1:]])
    page.get_by_role("button", name="Discard mine and reload").click()
    expect(page.locator(".said").first).to_have_text("Theirs")
    visited.complaints[:] = [text for text in visited.complaints if "412" not in text]


def change_elsewhere(service: FakeService, job_id: str, row: int) -> None:
    """Somebody else saves this row with another text."""
    edited = [
        EditedSegment(
            start=one.start, end=one.end, text="Theirs" if one.id == row else one.text, sources=(one.id,)
        )
        for one in ANSWER.segments
    ]
    service.transcripts.save(job_id, 0, edited, None, {})


def test_blocked_storage_takes_nothing_away(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit("/jobs").page
    page.add_init_script(NO_STORAGE)
    page.goto(f"/jobs/{job_id}")
    page.locator("a.times").first.focus()
    page.keyboard.press("e")
    page.locator(".editor textarea").fill("First")
    page.keyboard.press("Control+s")

    expect(page.get_by_text("Saved.")).to_be_visible()
    assert kept(service, job_id)[0] == "First"


def test_what_is_copied_is_the_text_alone(visit: VISIT, job_id: str) -> None:
    """By the button without a clipboard API, and by selecting everything."""
    page: Page = visit("/jobs", permissions=["clipboard-read", "clipboard-write"]).page
    page.add_init_script(NO_CLIPBOARD)
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#text'))")
    by_hand = page.evaluate("getSelection().toString()").split("\n")

    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<textarea id=paste></textarea>')")
    page.locator("#paste").focus()
    page.keyboard.press("Control+v")
    assert page.locator("#paste").input_value() == "\n".join(TEXTS)
    assert [line for line in by_hand if line.strip()] == list(TEXTS)


def test_double_click_edits_at_the_word_and_plays_nothing(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.locator("[data-media]").evaluate(
        "(media) => { window.plays = 0; media.play = async () => { window.plays += 1; }; }"
    )
    box = page.evaluate(
        """() => {
          const range = document.createRange();
          range.setStart(document.querySelectorAll('.said')[1].firstChild, 8);
          range.setEnd(document.querySelectorAll('.said')[1].firstChild, 9);
          const { x, y, width, height } = range.getBoundingClientRect();
          return [x + width / 2, y + height / 2];
        }"""
    )
    page.mouse.dblclick(*box)

    place = page.locator(".editor textarea").evaluate("(area) => area.selectionStart")
    assert TEXTS[1].index("country") <= place <= TEXTS[1].index("country") + len("country")
    page.evaluate("new Promise((done) => setTimeout(done, 600))")  # beyond the time that a click waits
    assert page.evaluate("[window.plays, document.querySelector('[data-media]').currentTime]") == [0, 0]


def test_editor_is_cancelled_and_wrong_times_block_nothing(
    visit: VISIT, service: FakeService, job_id: str
) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.locator(".said").first.dblclick()
    page.locator(".editor textarea").fill("Not this")
    page.get_by_role("button", name="Cancel").click()
    assert texts(page)[0] == TEXTS[0]
    expect(page.locator("a.times").first).to_be_focused()
    page.keyboard.press("e")
    page.locator(".editor textarea").fill("But this")
    page.get_by_label("To", exact=True).fill("16:39")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("The recording ends at 0:11.0.")).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.get_by_text("kept its old times")).to_be_visible()
    assert texts(page)[0] == "But this"
    expect(page.locator(".times").first).to_have_text("0:00.0 – 0:03.0")
    page.locator(".said").nth(1).dblclick()
    page.get_by_label("From", exact=True).fill("soon")
    page.locator(".said").nth(2).dblclick()
    expect(page.locator(".editor textarea")).to_have_value(TEXTS[2])


def test_phrase_over_two_segments_is_found_and_words_are_replaced(
    visit: VISIT, service: FakeService, job_id: str
) -> None:
    page: Page = visit(f"/jobs/{job_id}?q=can do for").page
    expect(page.locator("[data-found]")).to_have_text("1 / 1")
    page.locator(".more > summary").click()
    page.get_by_role("button", name="Find and replace").click()
    page.locator("[data-find]").fill("o")
    expect(page.locator("[data-found]")).to_have_text("6")
    page.get_by_label("Replace with").fill("0")
    page.get_by_role("button", name="Replace", exact=True).click()
    expect(page.locator("[data-found]")).to_have_text("1 / 5")
    page.get_by_role("button", name="Replace all").click()
    expect(page.locator("[data-found]")).to_have_text("0")
    assert texts(page) == [text.replace("o", "0") for text in TEXTS]
    page.get_by_role("button", name="Undo").click()

    assert texts(page) == [TEXTS[0].replace("o", "0"), *TEXTS[1:]]


def test_link_to_a_moment_leads_there(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}#t=4.5").page
    expect(page.locator("li.now")).to_contain_text(TEXTS[1])

    assert page.locator("[data-media]").evaluate("(media) => media.currentTime") >= 4.5


def test_speakers_are_renamed_moved_and_merged(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    assert page.locator(".who:visible").all_inner_texts() == ["Speaker A", "Bob", "Speaker A"]
    expect(page.locator(".chip").first).to_contain_text("67 %")
    page.locator(".chip").first.click()
    page.locator("[data-speaker-id=A] [data-speaker-rename]").fill("Ann")
    page.keyboard.press("Enter")
    assert page.locator(".who:visible").all_inner_texts() == ["Ann", "Bob", "Ann"]
    page.locator("a.times").nth(2).focus()
    page.keyboard.press("2")
    assert page.locator(".who:visible").all_inner_texts() == ["Ann", "Bob"]
    page.locator(".said").first.dblclick()
    page.locator(".editor [data-speaker-of-row]").select_option(label="New speaker")
    page.get_by_role("button", name="Done").click()
    assert page.locator(".who:visible").all_inner_texts() == ["Speaker C", "Bob"]
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    segments = service.transcripts.get(job_id).transcription.segments
    assert [one.speaker for one in segments] == ["C", "B", "B"]
    assert violations_in_light_and_dark(page) == []

    page.locator(".chip:visible").last.click()
    page.locator("[data-speaker-id=C] [data-speaker-merge]").select_option(label="Bob")
    assert page.locator(".who:visible").all_inner_texts() == ["Bob"]
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".who:visible").all_inner_texts() == ["Speaker C", "Bob"]


def test_long_transcript_is_where_it_was_after_a_save(visit: VISIT, service: FakeService) -> None:
    """No reload, no jump: what was edited stays where it is, with what the service finds in it now."""
    many = tuple(
        replace(ANSWER.segments[0], id=at, start=float(at), end=at + 1.0, text=f" Line {at}")
        for at in range(600)
    )
    service.answer = make_transcription(*many, duration=600.0)
    job = service.add_job(new_job_id(), REQUEST, file_name="long.flac")
    service.finish(job.id)
    page: Page = visit(f"/jobs/{job.id}").page
    row = page.locator("li[data-id='500']")
    row.scroll_into_view_if_needed()
    row.locator(".said").dblclick()
    page.locator(".editor textarea").fill("again and again " * 8)
    page.locator("[data-done]").click()
    before = row.evaluate("(row) => row.getBoundingClientRect().top")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.")).to_be_in_viewport()

    expect(row.locator(".flags .suspect")).to_contain_text(["Repeated 8 times"])
    assert abs(row.evaluate("(row) => row.getBoundingClientRect().top") - before) < 40
