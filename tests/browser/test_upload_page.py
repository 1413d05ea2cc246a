"""The upload page in Chromium, with and without JavaScript."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fakes import FakeService
from transcriber.domain.errors import UndecodableMediaError

pytestmark = pytest.mark.browser

FACTS = {"gpu_used": "false", "device": "cpu", "compute_type": "int8_float32", "model": "base"}
VISIT = Callable[..., Any]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A file to upload; the service behind the page does not look inside."""
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF" * 50_000)
    return path


def assert_facts_shown(page: Page) -> None:
    for name, value in FACTS.items():
        expect(page.locator(f"[data-fact={name}]")).to_have_text(value)
    expect(page.get_by_role("alert")).to_contain_text("The GPU was asked for")


def test_file_goes_up_and_the_facts_come_back(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_role("button", name="Transcribe").click()

    expect(page).to_have_url(re.compile("/jobs/job_"))
    assert_facts_shown(page)
    [received] = service.received.values()
    assert received == audio.read_bytes()


def test_upload_shows_its_progress_in_percent(visit: VISIT, audio: Path) -> None:
    page: Page = visit().page
    page.evaluate(
        """() => {
          window.seen = [];
          const measure = document.querySelector('[data-measure]');
          new MutationObserver(() => window.seen.push(measure.textContent))
            .observe(measure, {childList: true, characterData: true, subtree: true});
          addEventListener('pagehide', () => sessionStorage.setItem('seen', JSON.stringify(window.seen)));
        }"""
    )
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_role("button", name="Transcribe").click()
    expect(page).to_have_url(re.compile("/jobs/"))

    seen = page.evaluate("() => JSON.parse(sessionStorage.getItem('seen'))")
    assert "0 %" in seen
    assert "100 %" in seen


def test_dropped_file_is_taken(visit: VISIT, service: FakeService) -> None:
    page: Page = visit().page
    transfer = page.evaluate_handle(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(['dropped bytes'], 'dropped.wav', {type: 'audio/wav'}));
          return transfer;
        }"""
    )
    page.dispatch_event("[data-drop]", "drop", {"dataTransfer": transfer})
    page.get_by_role("button", name="Transcribe").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("dropped.wav")
    assert list(service.received.values()) == [b"dropped bytes"]


def test_options_of_the_page_reach_the_service(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_label("Model").select_option("tiny.en")
    page.get_by_label("Language").select_option("de")
    page.get_by_label("Use the GPU").uncheck()
    page.get_by_text("More options").click()
    page.get_by_label("Times for each word").check()
    page.get_by_role("button", name="Transcribe").click()
    expect(page).to_have_url(re.compile("/jobs/"))

    [job] = service.jobs.values()
    assert job.request.model == "tiny.en"
    assert job.request.use_gpu is False
    assert job.request.options.language == "de"
    assert job.request.options.word_timestamps is True
    assert job.request.options.vad_filter is True
    assert job.request.ignored == ()


def test_plain_form_works_without_javascript(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit(java_script_enabled=False).page
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_role("button", name="Transcribe").click()

    expect(page).to_have_url(re.compile("/transcribe$"))
    assert_facts_shown(page)
    [job] = service.jobs.values()
    assert job.request.use_gpu is True


def test_refusal_is_shown_and_the_form_stays_as_it_was(
    visit: VISIT, service: FakeService, audio: Path
) -> None:
    visited = visit()
    page: Page = visited.page
    service.submit_error = UndecodableMediaError()
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_label("Language").select_option("de")
    page.get_by_role("button", name="Transcribe").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("No audio can be read from the upload.")
    expect(alert).to_contain_text(UndecodableMediaError.fix)
    expect(page.get_by_label("Language")).to_have_value("de")
    assert all("422" in complaint for complaint in visited.complaints)  # Chromium's own note on the status
    visited.complaints.clear()


def test_cancel_of_the_upload_gives_the_form_back(visit: VISIT, service: FakeService, audio: Path) -> None:
    page: Page = visit().page
    held = threading.Event()
    receive = service.submit
    service.submit = lambda *args, **named: (held.wait(10), receive(*args, **named))[1]  # type: ignore[method-assign]
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_role("button", name="Transcribe").click()
    expect(page.locator("[data-phase]")).to_have_text("Submitting")
    expect(page.locator("form[data-upload]")).to_be_hidden()
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("button", name="Transcribe")).to_be_visible()
    held.set()


def test_page_works_from_the_keyboard(visit: VISIT) -> None:
    page: Page = visit().page
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.get_by_label("Use the GPU").focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Use the GPU")).not_to_be_checked()


def test_transcript_downloads(visit: VISIT, audio: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(audio)
    page.get_by_role("button", name="Transcribe").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="srt").click()

    assert waiting.value.suggested_filename == "speech.srt"
    assert Path(waiting.value.path()).read_text().startswith("1\n00:00:00,000 --> ")


def test_hostile_names_and_texts_stay_text(visit: VISIT, tmp_path: Path) -> None:
    page: Page = visit().page
    page.locator("input[type=file]").first.set_input_files(
        {"name": "<img src=x onerror=alert(1)>.wav", "mimeType": "audio/wav", "buffer": b"x"}
    )
    page.get_by_role("button", name="Transcribe").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x onerror=alert(1)>.wav")
    expect(page.locator("#text")).to_contain_text("Ask <b>more</b>.")
    assert page.locator("main b").count() == 0
