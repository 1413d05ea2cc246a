"""The page of a finished transcript in Chromium: heard, searched, corrected, saved; large, hostile, by keyboard."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from axe import violations_in_light_and_dark
from fakes import FakeService
from hostile_texts import ATTACKS
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import Word
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
ROOT = Path(__file__).resolve().parents[2]
JFK = ROOT / "tests" / "data" / "jfk.flac"

#: The longest task that nobody feels, in milliseconds.
LONGEST_TASK_MS = 100

#: What the page has fetched.
RESOURCES = "performance.getEntriesByType('resource').filter((one) => one.initiatorType === 'fetch').map((one) => one.name)"

MARKUP = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>&lt;b&gt;'


def words(start: float, text: str, unsure: str = "") -> tuple[Word, ...]:
    """Half a second for each word."""
    return tuple(
        Word(
            start=start + 0.5 * at,
            end=start + 0.5 * at + 0.5,
            word=f" {word}",
            probability=0.3 if word == unsure else 0.9,
        )
        for at, word in enumerate(text.split())
    )


ANSWER = make_transcription(
    make_segment(
        end=4.0,
        text=" Ask not what your country can do",
        words=words(0, "Ask not what your country can do", "country"),
    ),
    make_segment(
        id=1,
        start=4.0,
        end=7.0,
        text=" for you, ask what you can",
        words=words(4, "for you, ask what you can"),
    ),
    make_segment(id=2, start=7.0, end=10.0, text=" Thank you. Thank you. Thank you. Thank you.", words=()),
)


@pytest.fixture
def job_id(service: FakeService) -> str:
    """A finished job whose recording is there."""
    return finished(service, ANSWER)


def finished(service: FakeService, answer: Any, name: str = "talk.flac") -> str:
    service.answer = answer
    job = service.add_job(new_job_id(), REQUEST, file_name=name)
    service._kept(job.id).write_bytes(JFK.read_bytes())
    service.finish(job.id)
    return job.id


def texts(page: Page) -> list[str]:
    return page.locator(".said").all_inner_texts()


def more(page: Page) -> None:
    """Open the menu with what is wanted now and then."""
    page.locator(".more > summary").click()


def download(page: Page, ending: str) -> None:
    page.get_by_text("Download", exact=True).click()
    page.get_by_role("link", name=ending).click()


def lit(page: Page, name: str) -> list[str]:
    """The texts under a highlight."""
    return page.evaluate(
        """(name) => [...(CSS.highlights.get(name) ?? [])].map((range) => {
          const live = document.createRange();
          live.setStart(range.startContainer, range.startOffset);
          live.setEnd(range.endContainer, range.endOffset);
          return live.toString();
        })""",
        name,
    )


def test_word_that_is_clicked_is_heard_and_lit(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    media = page.locator("[data-media]")
    media.evaluate(
        "(media) => new Promise((done) => media.readyState ? done() : media.onloadedmetadata = done)"
    )
    media.evaluate("(media) => { media.play = () => Promise.resolve(); }")
    page.locator(".said").nth(1).evaluate("(said) => said.scrollIntoView({ block: 'center' })")
    box = page.evaluate(
        """() => {
          const range = document.createRange();
          const node = document.querySelectorAll('.said')[1].firstChild;
          range.setStart(node, 10);
          range.setEnd(node, 11);
          const { x, y, width, height } = range.getBoundingClientRect();
          return [x + width / 2, y + height / 2];
        }"""
    )
    page.mouse.click(*box)

    assert media.evaluate("(media) => media.currentTime") == pytest.approx(5.0, abs=0.05)
    expect(page.locator("li.now")).to_contain_text("for you, ask")
    assert lit(page, "spoken") == ["ask"]
    page.locator("a.times").first.click()
    assert media.evaluate("(media) => media.currentTime") == 0
    expect(page.locator("li.now")).to_contain_text("Ask not")
    page.get_by_role("slider", name="Position").click(position={"x": 200, "y": 10})
    assert media.evaluate("(media) => media.currentTime") > 1


def test_loudness_is_drawn_for_recordings_of_every_length(visit: VISIT, service: FakeService) -> None:
    """Ten hours whose second half is loud: the picture says so, and nothing was fetched to draw it."""
    peaks = base64.b64encode(bytes([10] * 300 + [255] * 300)).decode()
    job_id = finished(service, replace(ANSWER, duration=36_000.0, peaks=peaks))
    page: Page = visit(f"/jobs/{job_id}").page
    expect(page.locator("[data-wave]")).to_be_visible()
    filled = page.evaluate(
        """async () => {
          await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          const canvas = document.querySelector('[data-wave]');
          const { width, height } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
          const halves = [0, 0];
          for (let at = 0; at < width * height; at += 1) if (data[4 * at + 3]) halves[Number(at % width >= width / 2)] += 1;
          return halves.map((count) => count / (width * height / 2));
        }"""
    )

    assert 0.01 < filled[0] < 0.2
    assert filled[1] > 0.4
    assert page.evaluate(RESOURCES) == []


def test_doubts_are_marked_with_their_reason(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page

    expect(page.locator(".text .unsure")).to_have_text(["country"])
    expect(page.locator(".flags .suspect").first).to_have_text("Repeated 4 times")
    more(page)
    page.get_by_role("button", name="Next uncertain segment").click()
    expect(page.locator("li[data-suspect] a.times")).to_be_focused()


def test_text_is_searched(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.keyboard.press("/")
    page.keyboard.type("ASK")

    expect(page.locator("[data-found]")).to_have_text("2")
    assert lit(page, "found") == ["Ask", "ask"]
    page.keyboard.press("Enter")
    expect(page.locator("[data-found]")).to_have_text("1 / 2")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("[data-found]")).to_have_text("2 / 2")
    page.keyboard.press("Escape")
    expect(page.locator("[data-found]")).to_have_text("")


def test_correction_is_made_undone_saved_and_taken_back(
    visit: VISIT, service: FakeService, job_id: str
) -> None:
    """With the keyboard alone."""
    page: Page = visit(f"/jobs/{job_id}").page
    page.locator("a.times").first.focus()
    page.keyboard.press("e")
    page.keyboard.press("Control+a")
    page.keyboard.type("Ask now what your country can do")
    page.keyboard.press("Escape")
    expect(page.locator(".said").first).to_have_text("Ask now what your country can do")
    page.keyboard.press("Control+z")
    expect(page.locator(".said").first).to_have_text("Ask not what your country can do")
    page.keyboard.press("Control+Shift+Z")
    page.keyboard.press("Control+s")

    expect(page.get_by_text("Saved.")).to_be_visible()
    edit = service.transcripts.get(job_id).edit
    assert edit.revision == 1 and edit.segments is not None
    assert edit.segments[0].text == " Ask now what your country can do"
    assert (edit.segments[0].words or ())[3].start == 1.5
    with page.expect_download() as waiting:
        download(page, "srt")
    assert "Ask now" in Path(waiting.value.path()).read_text()
    page.reload()
    page.get_by_text("Discard all edits").click()
    page.get_by_role("button", name="Restore the original").click()
    expect(page.locator(".said").first).to_have_text("Ask not what your country can do")


def test_segments_are_split_merged_moved_and_removed(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.locator(".said").first.dblclick()
    area = page.locator(".editor textarea")
    area.evaluate("(area) => area.setSelectionRange(8, 8)")
    page.get_by_role("button", name="Split here").click()
    page.get_by_role("button", name="Done").click()
    assert texts(page)[:2] == ["Ask not", "what your country can do"]
    expect(page.locator("li[data-start]").nth(1)).to_have_attribute("data-start", "1.000")

    page.locator(".said").nth(1).dblclick()
    page.get_by_role("button", name="Merge with next").click()
    page.get_by_label("To", exact=True).fill("0:06.5")
    page.get_by_role("button", name="Done").click()
    page.locator(".said").last.click()
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_text("Saved.")).to_be_visible()
    segments = service.transcripts.get(job_id).edit.segments or ()
    assert [(one.start, one.end, one.text) for one in segments] == [
        (0.0, 1.0, " Ask not"),
        (1.0, 6.5, " what your country can do for you, ask what you can"),
    ]
    assert [word.word for word in segments[0].words or ()] == [" Ask", " not"]


def test_wrong_time_is_said_and_nothing_is_lost(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.locator(".said").first.dblclick()
    page.get_by_label("From", exact=True).fill("soon")
    page.get_by_role("button", name="Done").click()

    expect(page.get_by_text("Use times like 1:02.3")).to_be_visible()
    page.get_by_label("From", exact=True).fill("0:00.5")
    page.get_by_role("button", name="Done").click()
    expect(page.locator(".times").first).to_have_text("0:00.5 – 0:04.0")


def test_shortcuts_are_explained_and_can_be_turned_off(visit: VISIT, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Turn off single-key shortcuts").check()
    page.keyboard.press("Escape")
    page.keyboard.press("?")

    expect(page.get_by_role("dialog")).to_be_hidden()


def test_without_javascript_it_can_be_read_heard_and_renamed(
    visit: VISIT, service: FakeService, job_id: str
) -> None:
    page: Page = visit(f"/jobs/{job_id}", java_script_enabled=False).page

    assert texts(page)[0] == "Ask not what your country can do"
    expect(page.locator("audio")).to_be_visible()
    expect(page.locator("[data-find]")).to_be_hidden()
    page.get_by_text("Rename").first.click()
    page.get_by_label("Name", exact=True).fill("Inaugural <b>")
    page.get_by_role("button", name="Save name").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Inaugural <b>")
    page.locator("#retry summary").click()
    page.get_by_label("Model").select_option("tiny.en")
    page.get_by_role("button", name="Transcribe again").click()
    expect(page.locator("[data-fact=model]")).to_have_text("tiny.en")
    more(page)
    page.get_by_role("link", name="Compare with").click()
    expect(page.get_by_text("100.0 % of the words agree")).to_be_visible()


def test_history_is_searched_and_two_are_compared(visit: VISIT, service: FakeService, job_id: str) -> None:
    other = finished(
        service,
        replace(ANSWER, segments=(replace(ANSWER.segments[0], text=" Ask now <i>what</i>", words=None),)),
    )
    page: Page = visit("/jobs").page
    page.get_by_role("searchbox").fill("count")
    page.keyboard.press("Enter")

    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("mark")).to_have_text(["country"])
    page.get_by_role("main").get_by_role("link", name="All jobs").click()
    page.get_by_role("checkbox", name="Select all").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("ins").first).to_have_text("now <i>what</i>")
    expect(page.get_by_role("columnheader").last.get_by_role("link")).to_have_attribute(
        "href", f"/jobs/{other}"
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_everything_fits(
    visit: VISIT, service: FakeService, job_id: str, width: int
) -> None:
    arabic = make_transcription(make_segment(text=" مرحبا بالعالم"), language="ar")
    other = finished(service, arabic, name="مقابلة.flac")
    page: Page = visit(f"/jobs/{job_id}", viewport={"width": width, "height": 844}).page
    expect(page.locator("[data-find]")).to_be_visible()
    assert violations_in_light_and_dark(page) == []
    page.locator(".said").first.dblclick()
    assert violations_in_light_and_dark(page) == []
    page.locator(".editor").get_by_role("button", name="Done").click()
    more(page)
    assert violations_in_light_and_dark(page) == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert violations_in_light_and_dark(page) == []
    for path in ("/jobs?q=ask", "/jobs", f"/compare?job={job_id}&job={other}", f"/jobs/{other}"):
        page.goto(path)
        assert violations_in_light_and_dark(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert page.locator(".said").evaluate("(said) => getComputedStyle(said).direction") == "rtl"


def test_markup_is_text_on_every_page(visit: VISIT, service: FakeService) -> None:
    answer = make_transcription(
        make_segment(text=f" {MARKUP}", words=(Word(start=0, end=1, word=f" {MARKUP}", probability=0.1),)),
        media={"container": "flac", "title": MARKUP},
        model=MARKUP,
    )
    job_id = finished(service, answer, name=f"{MARKUP}.flac")
    service.rename(job_id, MARKUP)
    other = finished(service, ANSWER)
    running = service.add_job(new_job_id(), REQUEST, file_name=f"{MARKUP}.flac")
    service.start(running.id)
    page: Page = visit(f"/jobs/{running.id}").page
    for text in ATTACKS:
        service.say(running.id, f" {text}")
    expect(page.locator("[data-segments] li")).to_have_count(len(ATTACKS))
    assert page.evaluate("document.querySelectorAll('main img, main script, main svg, main b').length") == 0
    page.goto(f"/jobs/{job_id}")

    expect(page.locator(".said")).to_have_text(MARKUP)
    expect(page.locator(".said .unsure")).to_have_text(MARKUP)
    page.locator(".said").dblclick()
    page.locator(".editor textarea").press("End")
    page.keyboard.type(" <u>more</u>")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".said")).to_have_text(f"{MARKUP} <u>more</u>")
    for path in ("/jobs", "/jobs?q=script", f"/compare?job={job_id}&job={other}"):
        page.goto(path)
        expect(page.get_by_role("link", name=MARKUP).first).to_be_visible()
        assert page.evaluate("document.querySelectorAll('main img, main script, main u, main b').length") == 0
    assert page.evaluate("window.hit") is None


def test_three_hours_are_scrolled_and_searched_without_a_stall(visit: VISIT, service: FakeService) -> None:
    segments = tuple(
        make_segment(
            id=at,
            start=1.08 * at,
            end=1.08 * at + 1,
            text=f" Segment {at} says what your country can do",
            words=words(
                1.08 * at, f"Segment {at} says what your country can do", "country" if at % 7 == 0 else ""
            ),
        )
        for at in range(10_000)
    )
    job_id = finished(service, make_transcription(*segments, duration=10_800.0))
    page: Page = visit(f"/jobs/{job_id}").page
    expect(page.locator("[data-find]")).to_be_visible()
    page.wait_for_load_state("load")
    page.evaluate(
        """() => {
          window.tasks = [];
          new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => Math.round(one.duration))))
            .observe({ type: 'longtask' });
        }"""
    )

    # On a machine that is busy with other things a task is interrupted: then the second round counts.
    rounds = []
    for _ in range(2):
        rounds.append(longest_task_of_a_round(page))
        if rounds[-1] <= LONGEST_TASK_MS:
            break
    print(json.dumps({"longest tasks in ms": rounds}))
    assert rounds[-1] <= LONGEST_TASK_MS


def longest_task_of_a_round(page: Page) -> int:
    """Scroll to the end and search for what every row has. No `expect`: it would take a snapshot of 10,000 rows."""
    page.evaluate("window.tasks.length = 0; scrollTo(0, 0)")
    for _ in range(12):
        page.mouse.wheel(0, 30_000)
        page.wait_for_timeout(60)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("End")
    page.keyboard.press("/")
    page.keyboard.press("Control+a")
    page.keyboard.type("country")
    wait_until_found(page, "10000")
    page.keyboard.press("Shift+Enter")
    wait_until_found(page, "10000 / 10000")
    page.wait_for_timeout(300)
    bottom, height = page.evaluate(
        "[document.querySelector('[data-id=\"9999\"]').getBoundingClientRect().bottom, innerHeight]"
    )
    assert 0 < bottom <= height
    return int(page.evaluate("Math.max(0, ...window.tasks)"))


def wait_until_found(page: Page, shown: str) -> None:
    """The page's policy forbids what Playwright's own waiting for a function does."""
    for _ in range(200):
        if page.evaluate("document.querySelector('[data-found]').textContent") == shown:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{shown} was not found")
