"""The pages in Chromium over a real server with real weights: live, without a script, over reload and restart."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from chromium import transfer_of
from media_files import RATE, make_wave, read_pcm
from server import Server
from speech_clips import ENGLISH_CLIPS

pytestmark = [pytest.mark.browser, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
JFK = ROOT / "tests" / "data" / "jfk.flac"
VISIT = Callable[..., Any]

#: A loaded machine may take so long for a file of minutes, in milliseconds.
PATIENCE_MS = 120_000


@pytest.fixture
def server(real_server: Server) -> Server:
    return real_server


@pytest.fixture
def live_server_url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes of real speech, so that a job can be met in its middle."""
    path = tmp_path_factory.mktemp("speech") / "minutes.wav"
    speech: list[int] = []
    while len(speech) < 240 * RATE:
        for clip in ENGLISH_CLIPS:
            speech += read_pcm(clip.path)
    path.write_bytes(make_wave(speech))
    return path


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_role("button", name="Transcribe", exact=True).click()


def rows(page: Page) -> Locator:
    return page.locator("[data-segments] li")


def assert_facts_shown(page: Page) -> None:
    """As a machine without a GPU shows them; on one with a GPU, the GPU's."""
    fact = page.locator("[data-fact=gpu_used]")
    expect(fact).to_have_text(re.compile("true|false"), timeout=PATIENCE_MS)
    on_gpu = fact.inner_text() == "true"
    expect(page.locator("[data-fact=device]")).to_have_text("cuda" if on_gpu else "cpu")
    expect(page.locator("[data-fact=compute_type]")).to_have_text(re.compile("float|int8"))
    expect(page.locator("[data-fact=model]")).to_have_text("tiny.en")


def numbers_of(page: Page) -> list[str]:
    return page.locator(".segments .times").all_text_contents()  # also of what is not laid out yet


def test_upload_is_followed_to_the_transcript(visit: VISIT) -> None:
    page: Page = visit().page
    upload(page, JFK)

    expect(page).to_have_url(re.compile("/jobs/job_"))
    assert_facts_shown(page)
    expect(page.locator("#text")).to_contain_text("ask not what your country can do for you")
    with page.expect_download() as waiting:
        page.get_by_text("Download", exact=True).click()
        page.get_by_role("link", name="srt").click()
    assert "country" in Path(waiting.value.path()).read_text()


def test_transcript_is_heard_corrected_found_and_taken_away(visit: VISIT) -> None:
    """The same job, from the list on: real sound in parts, a correction, and its file after a search."""
    page: Page = visit("/jobs").page
    page.get_by_role("link", name="jfk.flac").first.click()
    media = page.locator("[data-media]")
    media.evaluate(
        "(media) => new Promise((done) => media.readyState ? done() : media.onloadedmetadata = done)"
    )
    assert media.evaluate("(media) => media.duration") == pytest.approx(11.0, abs=0.1)
    page.locator("a.times").first.click()
    expect(page.locator("li.now")).to_have_count(1)
    assert media.evaluate("(media) => media.seekable.end(0)") > 10
    media.evaluate("(media) => media.pause()")

    page.locator("a.times").first.focus()
    page.keyboard.press("e")
    page.keyboard.press("Control+End")
    page.keyboard.type(" Zebras <b>bold</b>.")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_text("Download", exact=True).click()
        page.get_by_role("link", name="srt").click()
    assert "Zebras <\u2060b>bold" in " ".join(Path(waiting.value.path()).read_text().split("\n"))

    page.goto("/jobs?q=zebra")
    expect(page.locator("mark")).to_have_text(["Zebras"])
    expect(page.locator("tbody tr")).to_have_count(1)


def test_drop_of_three_files_anywhere_makes_three_transcripts(visit: VISIT, server: Server) -> None:
    page: Page = visit().page
    clips = {clip.path.name: clip for clip in ENGLISH_CLIPS if clip.path != JFK}
    files = {name: clip.path.read_bytes() for name, clip in clips.items()}
    transfer = transfer_of(page, files)
    page.dispatch_event("footer", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop the files anywhere")).to_be_visible()
    page.dispatch_event("footer", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop the files anywhere")).to_be_hidden()
    listed = page.locator("[data-tray] li")
    expect(listed).to_have_count(3)
    page.get_by_role("button", name="Remove hello_world.wav").click()
    late = {name: files.get(name, b"") for name in ("hello_world.wav", "empty.wav")}
    page.dispatch_event("body", "drop", {"dataTransfer": transfer_of(page, late)})
    expect(listed.last).to_contain_text("empty.wav is empty.")
    page.get_by_role("button", name="Remove empty.wav").click()
    page.get_by_role("button", name="Transcribe", exact=True).click()

    expect(page.get_by_role("link", name="Open")).to_have_count(3, timeout=PATIENCE_MS)
    jobs = [link.get_attribute("href") or "" for link in page.get_by_role("link", name="Open").all()]
    heard = {}
    for job in jobs:
        page.goto(job)
        assert_facts_shown(page)
        heard[page.get_by_role("heading", level=1).inner_text()] = page.locator("#text").inner_text().lower()
    assert "one, two, three" in heard["counting.wav"] or "1, 2, 3" in heard["counting.wav"]
    assert "hello" in heard["hello_world.wav"]
    assert "brown fox" in heard["quick_brown_fox.wav"]


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(80):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"The Tab key does not reach {wanted}.")


def test_whole_way_by_keyboard(visit: VISIT, server: Server) -> None:
    """Chosen, started, corrected, saved and taken away, and no other way than the keys."""
    page: Page = visit().page
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    tab_to(page, page.locator("input[type=file]").first)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(JFK)
    expect(page.locator("[data-announce]")).to_have_text("jfk.flac added.")
    tab_to(page, page.get_by_label("Use the GPU"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Transcribe", exact=True))
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile("/jobs/job_"))
    assert_facts_shown(page)
    expect(page.locator("[data-evidence]")).to_have_attribute("data-tone", "plain")
    tab_to(page, page.locator("a.times").first)
    page.keyboard.press("e")
    page.keyboard.press("Control+End")
    page.keyboard.type(" By hand.")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.locator("a.times").first).to_be_focused()
    download = page.locator(".downloads > summary")
    for _ in range(10):  # back over what can be done with the text
        page.keyboard.press("Shift+Tab")
        if download.evaluate("(summary) => summary === document.activeElement"):
            break
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="srt"))
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert "By hand." in Path(waiting.value.path()).read_text().replace("\n", " ")


def test_plain_form_gives_the_transcript(visit: VISIT) -> None:
    page: Page = visit(java_script_enabled=False).page
    upload(page, JFK)

    expect(page).to_have_url(re.compile("/transcribe$"), timeout=PATIENCE_MS)
    assert_facts_shown(page)
    expect(page.locator("#text")).to_contain_text("ask not what your country can do for you")


def test_reload_and_restart_in_the_middle_lose_nothing(visit: VISIT, server: Server, minutes: Path) -> None:
    visited = visit()
    page: Page = visited.page
    upload(page, minutes)
    expect(rows(page).nth(1)).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("[data-measure]")).to_contain_text("%")
    picture(page, "live")
    page.reload()
    expect(rows(page).nth(1)).to_be_visible()

    server.stop()
    expect(page.locator("[data-connection]")).to_be_visible(timeout=20_000)
    before = numbers_of(page)
    server.start()

    expect(page.locator("[data-connection]")).to_be_hidden(timeout=30_000)
    assert_facts_shown(page)
    after = numbers_of(page)
    assert after[: len(before)] == before
    assert len(after) == len(set(after))
    expect(page.locator("li[data-id]")).to_have_count(len(after))
    # The browser's own note on each try while nobody was there.
    visited.complaints[:] = [text for text in visited.complaints if "ERR_" not in text]


def test_cancel_in_the_middle_ends_the_work(visit: VISIT, server: Server, minutes: Path) -> None:
    page: Page = visit().page
    upload(page, minutes)
    expect(rows(page).first).to_be_visible(timeout=PATIENCE_MS)
    tab_to(page, page.get_by_role("button", name="Cancel"))
    page.keyboard.press("Enter")

    expect(page.get_by_text("This job was cancelled.")).to_be_visible()
    job_id = page.url.rpartition("/")[2]
    assert server.get(f"/jobs/{job_id}").json["status"] == "cancelled"


def test_history_shows_where_each_job_ran(visit: VISIT) -> None:
    page: Page = visit("/jobs").page

    expect(page.get_by_role("row").filter(has_text="jfk.flac").first).to_contain_text(re.compile("CPU|GPU"))
    expect(page.get_by_role("row").filter(has_text="cancelled")).to_have_count(1)
    page.get_by_role("link", name="jfk.flac").first.click()
    assert_facts_shown(page)


def test_pages_fit(visit: VISIT) -> None:
    page: Page = visit("/jobs").page
    assert_fits(page, "history")
    page.get_by_role("link", name="minutes.wav", exact=True).last.click()
    assert_facts_shown(page)
    assert_fits(page, "result")


def assert_fits(page: Page, name: str) -> None:
    """At the width of a phone and of a desk, in light and dark."""
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            picture(page, f"{name}-{scheme}-{width}")


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where SCREENSHOTS asks for it."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"real-{name}.png", full_page=True)
