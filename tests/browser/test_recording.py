"""Recording from the microphone in Chromium, whose fake device plays a speech file: to a transcript, and rescued."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from chromium import chromium_that_hears
from media_files import make_wave, read_pcm
from server import Server
from speech_clips import JFK

pytestmark = [pytest.mark.browser, pytest.mark.model]

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a microphone into which somebody speaks."""
    speech = tmp_path_factory.mktemp("microphone") / "speech.wav"
    speech.write_bytes(make_wave(read_pcm(JFK.path)))
    with chromium_that_hears(playwright, speech) as chromium:
        yield chromium


@pytest.fixture
def live_server_url(real_server: Server) -> str:
    return real_server.url


def wait_until(page: Page, expression: str) -> None:
    """Playwright's own way needs eval, which our pages forbid."""
    deadline = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def is_heard(page: Page) -> None:
    wait_until(page, "document.querySelector('[data-level]').value > 0.05")


def test_recording_becomes_a_transcript_also_when_its_tab_was_closed(visit: Callable[..., Any]) -> None:
    page: Page = visit().page
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("meter", name="Level of the microphone")).to_be_visible()
    is_heard(page)
    expect(page.locator("[data-recording-time]")).to_have_text("0:04", timeout=15_000)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-recording-state]")).to_have_text("Paused")
    # The pause is no part of it; and the tab goes without a word.
    paused = page.locator("[data-recording-time]").inner_text()
    context = page.context
    page.wait_for_timeout(1200)
    assert page.locator("[data-recording-time]").inner_text() == paused
    page.close()

    again = context.new_page()
    again.goto("/")
    expect(again.get_by_text("was not sent")).to_contain_text("A recording of 0:0")
    again.get_by_role("button", name="Add it").click()
    expect(again.locator("[data-tray] .file-name")).to_have_text(re.compile(r"^Recording .*\.webm$"))
    again.get_by_role("button", name="Transcribe", exact=True).click()
    expect(again.locator("#text")).to_contain_text("my fellow American", timeout=PATIENCE_MS)
    again.goto("/")
    wait_until(again, "performance.getEntriesByName('scripted').length")
    expect(again.get_by_text("was not sent")).to_have_count(0)


def test_recording_is_stopped_or_discarded(visit: Callable[..., Any]) -> None:
    page: Page = visit().page
    page.get_by_role("button", name="Record").click()
    is_heard(page)
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("[data-recorder]")).to_be_hidden()
    expect(page.get_by_role("button", name="Record")).to_be_focused()
    expect(page.locator("[data-tray] li")).to_have_count(0)

    page.get_by_role("button", name="Record").click()
    is_heard(page)
    page.get_by_role("button", name="Stop and keep").click()
    expect(page.locator("[data-tray] li")).to_have_count(1)
    page.get_by_role("button", name=re.compile("Remove Recording")).click()
    page.reload()
    wait_until(page, "performance.getEntriesByName('scripted').length")
    expect(page.get_by_text("was not sent")).to_have_count(0)


def test_microphone_that_is_refused_says_so(visit: Callable[..., Any]) -> None:
    page: Page = visit().page
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('no such device')); }"
    )
    page.get_by_role("button", name="Record").click()

    expect(page.get_by_role("alert")).to_contain_text("The microphone can't be used: no such device")
    expect(page.get_by_role("button", name="Record")).to_be_enabled()
