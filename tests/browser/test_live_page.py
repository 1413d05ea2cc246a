"""/live in Chromium, whose fake microphone plays a speech file: captions, and a job that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from axe import violations_in_light_and_dark
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


def test_microphone_is_captioned_and_kept_as_a_job(visit: Callable[..., Any]) -> None:
    page: Page = visit("/live").page
    assert violations_in_light_and_dark(page) == []
    page.get_by_role("button", name="Caption the microphone").click()
    expect(page.locator("[data-state]")).to_have_text("Listening", timeout=PATIENCE_MS)
    captions = page.get_by_role("log", name="Captions")
    expect(captions.locator("p:not([data-open])").first).to_be_visible(timeout=PATIENCE_MS)
    expect(captions).to_contain_text("country", timeout=PATIENCE_MS)
    expect(page.locator("[data-device]")).to_have_text("on the cpu (int8_float32)", timeout=PATIENCE_MS)
    assert violations_in_light_and_dark(page) == []
    page.get_by_role("button", name="Stop and keep").click()
    expect(page.locator("[data-state]")).to_have_text("Ended")
    page.get_by_role("link", name="Open the job").click()

    expect(page.get_by_text("country").first).to_be_visible(timeout=PATIENCE_MS)


def test_microphone_that_is_refused_says_so(visit: Callable[..., Any]) -> None:
    page: Page = visit("/live").page
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('no such device')); }"
    )
    page.get_by_role("button", name="Caption the microphone").click()

    expect(page.get_by_role("alert")).to_contain_text("There is no sound to caption: no such device")
    expect(page.get_by_role("button", name="Caption the microphone")).to_be_enabled()
