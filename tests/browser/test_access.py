"""What keeps nobody out: axe-core finds nothing on our pages, signing in, the languages, and a first look that is quick."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from axe import violations_in_light_and_dark
from fakes import FakeService, make_application
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.keys import Role
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
KEY = "a long random key"
VISIT = Callable[..., Any]

#: Chromium's "Fast 3G": latency in milliseconds, bytes a second.
FAST_3G = {"latency": 562.5, "downloadThroughput": 180_000, "uploadThroughput": 84_375}

#: Compressed bytes of our own scripts and style sheets together, and requests of the first page.
OWN_BYTES = 100_000
FIRST_REQUESTS = 10


@pytest.fixture
def guarded(service: FakeService) -> FakeService:
    """The same service behind a key."""
    application = service.application  # type: ignore[attr-defined]
    application.settings = make_application(service.spool, WHISPER_API_KEY=KEY).settings
    return service


def test_axe_finds_nothing(visit: VISIT, service: FakeService) -> None:
    running = service.add_job(new_job_id(), REQUEST, file_name="Interview.mp3")
    service.start(running.id)
    service.say(running.id, " And so, my fellow Americans,")
    service.progress(running.id, 42)
    waiting = service.add_job(new_job_id(), REQUEST)
    failed = service.add_job(
        new_job_id(), REQUEST, status=JobStatus.FAILED, error=JobError(code="x", message="It failed.", fix="")
    )
    visited = visit("/")
    page: Page = visited.page
    page.locator("input[type=file]").first.set_input_files(
        [{"name": f"{n}.wav", "mimeType": "audio/wav", "buffer": b"x" * n} for n in range(2)]
    )
    page.get_by_text("More options").click()
    page.get_by_text("CPU instead of the GPU").click()
    assert violations_in_light_and_dark(page) == []
    jobs = [f"/jobs/{job.id}" for job in (running, waiting, failed)]
    for path in (*jobs, "/jobs", "/diagnostics", "/no-such-page"):
        page.goto(path)
        if running.id in path:
            page.locator("[data-degraded] summary").click()
        if path == "/diagnostics":
            page.evaluate(
                "for (const folded of document.querySelectorAll('main details')) folded.open = true"
            )
        assert violations_in_light_and_dark(page) == [], path
    visited.complaints[:] = [text for text in visited.complaints if "404" not in text]


def test_axe_finds_nothing_in_the_answer_of_the_plain_form(visit: VISIT) -> None:
    """axe itself is a script, and needs a browser that runs some: so ours are taken out of what is sent."""
    page: Page = visit("/jobs").page
    page.route(
        re.compile("/(transcribe)?$"),
        lambda route: route.fulfill(
            response=(answer := route.fetch()), body=re.sub("(?s)<script.*?</script>", "", answer.text())
        ),
    )
    page.goto("/")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    page.get_by_role("button", name="Transcribe", exact=True).click()
    expect(page).to_have_url(re.compile("/transcribe$"))
    expect(page.locator("[data-fact=device]")).to_have_text("cpu")
    assert page.locator("[data-script-only]:visible").count() == 0
    assert violations_in_light_and_dark(page) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_signing_in_and_out(guarded: FakeService, visit: VISIT, width: int) -> None:
    """From the page that was wanted, over a wrong key, and back; then everything works with the session."""
    page: Page = visit("/jobs", viewport={"width": width, "height": 844}).page
    expect(page).to_have_url(re.compile("/sign-in"))
    expect(page.get_by_label("Key")).to_be_focused()
    assert violations_in_light_and_dark(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("That is not the key.")
    assert violations_in_light_and_dark(page) == []
    page.get_by_label("Key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/jobs$"))
    assert page.evaluate("document.cookie") == ""

    page.goto("/")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    page.get_by_role("button", name="Transcribe", exact=True).click()
    expect(page.locator("[data-fact=device]")).to_have_text("cpu")
    page.goto("/")  # the result's player may still be fetching, and would complain of being signed out
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/sign-in$"))
    page.goto("/")
    expect(page).to_have_url(re.compile("/sign-in"))


@pytest.mark.parametrize("width", [390, 1280])
def test_keys_are_made_and_revoked_on_a_page_of_their_own(
    guarded: FakeService, visit: VISIT, width: int
) -> None:
    keys = guarded.application.keys  # type: ignore[attr-defined]
    keys.add("n" * 64, Role.METRICS)
    page: Page = visit("/keys", viewport={"width": width, "height": 844}).page
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/keys$"))
    assert violations_in_light_and_dark(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.get_by_label("Name").fill("alice")
    page.get_by_role("button", name="New key").click()
    expect(page.get_by_text("This is the key for alice.")).to_be_visible()
    assert violations_in_light_and_dark(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.locator("tr", has_text="alice").get_by_role("button", name="Revoke").click()
    expect(page.locator("tr", has_text="alice")).to_contain_text("revoked")
    assert [key.name for key in keys.all() if key.revoked_at] == ["alice"]


def test_session_follows_a_job_live_and_without_javascript(guarded: FakeService, visit: VISIT) -> None:
    job = guarded.add_job(new_job_id(), REQUEST, file_name="talk.mp3")
    page: Page = visit(f"/jobs/{job.id}").page
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    guarded.start(job.id)
    guarded.say(job.id, " one")
    expect(page.locator("[data-segments] li")).to_have_count(1)

    plain: Page = visit("/", java_script_enabled=False).page
    plain.get_by_label("Key").fill(KEY)
    plain.get_by_role("button", name="Sign in").click()
    plain.locator("input[type=file]").first.set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    plain.get_by_role("button", name="Transcribe", exact=True).click()
    expect(plain.locator("[data-fact=device]")).to_have_text("cpu")


def test_session_that_ended_is_told_where_a_file_is_sent(guarded: FakeService, visit: VISIT) -> None:
    visited = visit("/")
    page: Page = visited.page
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.locator("input[type=file]").first.set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    page.context.clear_cookies()
    page.get_by_role("button", name="Transcribe", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("Your session has ended.")
    page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_label("Key")).to_be_visible()
    assert all("401" in complaint for complaint in visited.complaints)  # Chromium's own note on the status
    visited.complaints.clear()


def test_language_is_chosen_on_the_page_and_used_by_its_scripts(visit: VISIT, service: FakeService) -> None:
    page: Page = visit("/", locale="de-DE").page
    expect(page.get_by_role("heading", level=1)).to_have_text("Aufnahmen transkribieren")
    assert "Deutsch" in page.locator("select[name=language] option").all_inner_texts()
    page.get_by_role("button", name="Transkribieren", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Wählen Sie zuerst eine Datei.")
    page.get_by_role("button", name="Français").click()
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    job = service.add_job(new_job_id(), REQUEST)
    service.start(job.id)
    page.goto(f"/jobs/{job.id}")
    service.progress(job.id, 42)

    expect(page.locator("[data-measure]")).to_have_text("42 % · encore environ 12 s")
    expect(page.locator("[data-language]")).to_have_text("Langue : anglais (en)")


def test_first_look_is_quick_on_a_slow_line(browser: Browser, live_server_url: str) -> None:
    """Painted, and usable as a form, within a second on Fast 3G; the scripts follow within their round trip.

    The best of three looks: the line is what is measured, not what else this machine does meanwhile.
    """
    looks = [look_slowly(browser, live_server_url) for _ in range(3)]

    print(looks)
    assert max(look.pop("requests") for look in looks) <= FIRST_REQUESTS
    best = min(looks, key=lambda look: look["scripted"])
    assert best.pop("scripted") <= 2000, looks
    assert max(best.values()) <= 1000, looks


def look_slowly(browser: Browser, url: str) -> dict[str, float]:
    """Milliseconds from the click to each state of the first page, by a browser that has seen nothing of it."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", {"offline": False, **FAST_3G})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto("/", wait_until="networkidle")
    measured: dict[str, float] = page.evaluate(
        """() => ({
          interactive: performance.getEntriesByType('navigation')[0].domInteractive,
          painted: performance.getEntriesByName('first-contentful-paint')[0].startTime,
          scripted: performance.getEntriesByName('scripted')[0].startTime,
        })"""
    )
    context.close()
    return {**measured, "requests": len(requests)}


def test_own_scripts_and_styles_are_small() -> None:
    own = [*(ROOT / "static").glob("*.js"), *(ROOT / "static").glob("*.css")]

    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in own}

    print(sizes, sum(sizes.values()))
    assert sum(sizes.values()) <= OWN_BYTES
