"""The page of a job and the list of jobs in Chromium: live, cancelled, failed, reconnected, without JavaScript."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from axe import violations_in_light_and_dark
from fakes import FakeService
from transcriber.domain.errors import NoAudioStreamError
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id

pytestmark = pytest.mark.browser

VISIT = Callable[..., Any]
REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())


@pytest.fixture
def job_id(service: FakeService) -> str:
    """A job that waits."""
    return service.add_job(new_job_id(), REQUEST, file_name="talk.mp3").id


def texts(page: Page) -> Any:
    return page.locator("[data-segments] li span:last-child")


def test_job_is_followed_to_its_transcript(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    expect(page.locator("[data-phase]")).to_have_text("Waiting for its turn")
    expect(page.locator("[data-measure]")).to_contain_text("place 1")
    expect(page.get_by_role("link", name="Look again")).to_be_hidden()

    service.start(job_id)
    service.progress(job_id, 40)
    expect(page.locator("[data-phase]")).to_have_text("Transcribing")
    expect(page.locator("[data-measure]")).to_have_text("40 % · about 12 s left")
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 40)

    service.say(job_id, " one <b>two</b>")
    service.say(job_id, " three")
    expect(texts(page)).to_have_text(["one <b>two</b>", "three"])
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Cancel").focus()

    service.finish(job_id)
    expect(page.locator("[data-fact=gpu_used]")).to_have_text("false")
    expect(page.locator(".said")).to_have_text(["one <b>two</b>", "three"])
    expect(page.get_by_role("searchbox")).to_be_visible()
    expect(page.locator("[data-announce]")).to_have_text("The transcript is ready.")
    expect(page.get_by_role("heading", level=1)).to_be_focused()  # what had the focus is gone
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True


def test_segments_that_are_there_already_do_not_come_twice(
    visit: VISIT, service: FakeService, job_id: str
) -> None:
    service.start(job_id)
    service.say(job_id, " one")

    page: Page = visit(f"/jobs/{job_id}").page
    service.say(job_id, " two")
    expect(texts(page)).to_have_text(["one", "two"])
    page.reload()
    service.say(job_id, " three")

    expect(texts(page)).to_have_text(["one", "two", "three"])


def test_cancel_button_cancels(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("This job was cancelled.")).to_be_visible()
    assert service.jobs[job_id].status is JobStatus.CANCELLED


def test_job_cancelled_elsewhere_says_so(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    expect(page.locator("[data-phase]")).to_be_visible()
    service.cancel(job_id)

    expect(page.get_by_text("This job was cancelled.")).to_be_visible()


def test_failure_is_shown_and_can_be_tried_again(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit(f"/jobs/{job_id}").page
    service.start(job_id)
    service.job_error = NoAudioStreamError()
    service.finish(job_id)

    expect(page.get_by_role("alert")).to_contain_text(NoAudioStreamError.fix)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("[data-phase]")).to_have_text("Waiting for its turn")


def test_lost_connection_is_shown_and_comes_back(visit: VISIT, service: FakeService, job_id: str) -> None:
    """The stream ends without an end, as when the service restarts."""
    page: Page = visit(f"/jobs/{job_id}").page
    service.start(job_id)
    service.say(job_id, " one")
    expect(texts(page)).to_have_text(["one"])

    service.stop()
    expect(page.locator("[data-connection]")).to_be_visible()
    service.resume()
    service.say(job_id, " two")

    expect(page.locator("[data-connection]")).to_be_hidden(timeout=10_000)
    expect(texts(page)).to_have_text(["one", "two"])
    service.finish(job_id)
    expect(page.locator("[data-fact=device]")).to_have_text("cpu")


def test_without_javascript_one_looks_again(visit: VISIT, service: FakeService, job_id: str) -> None:
    """Chromium does not show noscript to a driver that turned scripts off; the refresh in it stays untested."""
    page: Page = visit(f"/jobs/{job_id}", java_script_enabled=False).page
    service.start(job_id)
    service.progress(job_id, 40)
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("[data-measure]")).to_contain_text("40 %")
    service.finish(job_id)
    page.get_by_role("link", name="Look again").click()

    expect(page.locator("[data-fact=device]")).to_have_text("cpu")


def test_list_keeps_itself_current(visit: VISIT, service: FakeService, job_id: str) -> None:
    page: Page = visit("/jobs").page
    expect(page.get_by_role("row").nth(1)).to_contain_text("Queued")

    service.finish(job_id)

    expect(page.get_by_role("row").nth(1)).to_contain_text("Succeeded", timeout=10_000)
    expect(page.get_by_role("row").nth(1)).to_contain_text("int8_float32")


def test_list_is_filtered_and_paged(visit: VISIT, service: FakeService) -> None:
    error = JobError(code="x", message="y", fix="")
    for number in range(3):
        service.add_job(new_job_id(), REQUEST, file_name=f"good{number}.wav", status=JobStatus.SUCCEEDED)
    service.add_job(new_job_id(), REQUEST, file_name="bad.wav", status=JobStatus.FAILED, error=error)

    page: Page = visit("/jobs?limit=2").page
    page.get_by_role("link", name="Older jobs").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("good1.wav")
    page.get_by_role("link", name=re.compile("Failed")).click()

    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("bad.wav")


def test_job_is_removed_from_the_list_without_javascript(visit: VISIT, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.CANCELLED)
    page: Page = visit("/jobs", java_script_enabled=False).page
    page.get_by_role("button", name="Delete").first.click()

    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    assert job.id not in service.jobs


def test_deleting_can_be_undone_and_is_done_when_the_page_is_left(visit: VISIT, service: FakeService) -> None:
    kept = service.add_job(new_job_id(), REQUEST, file_name="kept.wav", status=JobStatus.CANCELLED)
    gone = service.add_job(new_job_id(), REQUEST, file_name="gone.wav", status=JobStatus.CANCELLED)
    page: Page = visit("/jobs").page

    page.get_by_role("button", name="Delete: kept.wav").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("row")).to_have_count(3)

    page.get_by_role("button", name="Delete: gone.wav").click()
    expect(page.locator(".toast")).to_contain_text("gone.wav deleted.")
    assert gone.id in service.jobs
    page.get_by_role("link", name="Diagnostics").click()
    expect(page).to_have_url(re.compile("diagnostics"))
    page.goto("/jobs")
    expect(page.get_by_role("link", name="kept.wav", exact=True)).to_be_visible()
    # The request goes out while the page is left: it may arrive after the next page.
    for _ in range(20):
        if page.get_by_text("gone.wav").count() == 0:
            break
        page.reload()
    assert set(service.jobs) == {kept.id}


def test_deleting_a_job_on_its_page_can_be_undone_on_the_list(visit: VISIT, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST, file_name="talk.wav", status=JobStatus.CANCELLED)
    page: Page = visit(f"/jobs/{job.id}").page
    page.get_by_role("button", name="Delete").click()

    expect(page.locator(".toast")).to_contain_text("talk.wav deleted.")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="talk.wav", exact=True)).to_be_visible()
    assert job.id in service.jobs


def test_ticks_and_half_typed_searches_stay_while_the_list_goes_on(
    visit: VISIT, service: FakeService
) -> None:
    running = service.add_job(new_job_id(), REQUEST, file_name="running.wav")
    service.add_job(new_job_id(), REQUEST, file_name="old.wav", status=JobStatus.SUCCEEDED)
    page: Page = visit("/jobs").page
    page.get_by_role("checkbox", name="Select old.wav").check()
    page.get_by_role("searchbox").fill("half ty")

    service.finish(running.id)
    service.add_job(new_job_id(), REQUEST, file_name="new.wav")

    expect(page.get_by_role("row").nth(1)).to_contain_text("new.wav", timeout=10_000)
    expect(page.get_by_role("row").nth(3)).to_contain_text("int8_float32", timeout=10_000)
    expect(page.get_by_role("checkbox", name="Select old.wav")).to_be_checked()
    expect(page.get_by_role("searchbox")).to_have_value("half ty")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_many_are_downloaded_tried_again_and_deleted(visit: VISIT, service: FakeService) -> None:
    done = [service.add_job(new_job_id(), REQUEST, file_name="talk.wav") for _ in range(2)]
    for job in done:
        service.finish(job.id)
    error = JobError(code="x", message="y", fix="")
    failed = service.add_job(new_job_id(), REQUEST, file_name="bad.wav", status=JobStatus.FAILED, error=error)
    page: Page = visit("/jobs").page
    for box in page.get_by_role("checkbox", name="Select talk.wav").all():
        box.check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == ["talk.srt", "talk (2).srt"]

    page.get_by_role("checkbox", name="Select bad.wav").check()
    expect(page.get_by_text("3 selected")).to_be_visible()
    expect(page.get_by_role("button", name="Download zip")).to_be_disabled()
    page.get_by_role("button", name="Try again", exact=True).click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Queued")
    assert service.jobs[failed.id].status is JobStatus.QUEUED
    page.get_by_role("button", name="Delete selected").click()
    expect(page.locator(".toast")).to_contain_text("2 jobs deleted.")


def test_api_page_shows_the_routes(visit: VISIT) -> None:
    page: Page = visit("/docs").page

    expect(page.locator(".opblock-summary-path").filter(has_text="/transcribe").first).to_be_visible(
        timeout=20_000
    )
    page.get_by_text("Submit a file as a job").click()
    expect(page.get_by_text("webhook_secret").first).to_be_visible()
    assert violations_in_light_and_dark(page) == []
