"""Every page in light and dark, wide and narrow: nothing overflows, contrast holds, pictures are kept."""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from fakes import FakeService
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id
from transcriber.web.i18n.language import FOLDER

pytestmark = [
    pytest.mark.browser,
    # Werkzeug's own server does not close a file whose reader has gone; gunicorn does.
    pytest.mark.filterwarnings(
        "ignore:.*unclosed file:ResourceWarning",
        "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning",
    ),
]

JFK = Path(__file__).resolve().parents[1] / "data" / "jfk.flac"

REQUEST = TranscriptionRequest(
    model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions(), ignored=("best_of",)
)

#: Least contrast of text with what is behind it (WCAG 2.2 AA for small text).
AA = 4.5

#: Contrast of every visible text with the colour behind it: [ratio, text] below the limit.
LOW_CONTRAST = """(limit) => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join('');
    if (!text || !element.checkVisibility()) continue;
    const a = light(parse(getComputedStyle(element).color)), b = light(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < limit) low.push([ratio, text.slice(0, 40)]);
  }
  return low;
}"""


#: Tables that are wider than their place.
SCROLLED = """() => [...document.querySelectorAll('.scroll')]
  .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth).map((one) => [one.clientWidth, one.scrollWidth])"""

#: What a text is filled with, and its tags.
GAP = re.compile(r"%\(\w+\)s|%%|\{\w+\}|<[^>]+>")

#: Every text of the page, seen or heard.
SAID = """() => [...document.querySelectorAll('body *')].flatMap((element) => [
  ...[...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data),
  ...['aria-label', 'title', 'placeholder', 'data-label'].map((name) => element.getAttribute(name) ?? ''),
]).map((text) => text.trim()).filter(Boolean)"""


@pytest.fixture
def pages(service: FakeService) -> dict[str, str]:
    """Addresses of pages that show what there is to show."""
    done = service.add_job(
        new_job_id(), REQUEST, file_name="A very long name of a recording, as phones give.m4a"
    )
    service._kept(done.id).write_bytes(JFK.read_bytes())
    service.finish(done.id)
    again = service.add_job(new_job_id(), REQUEST, file_name="Interview.mp3")
    service.finish(again.id)
    waiting = service.add_job(new_job_id(), REQUEST)
    running = service.add_job(new_job_id(), REQUEST, file_name="Interview.mp3")
    service.start(running.id)
    for text in (" And so, my fellow Americans,", " ask not what your country can do for you."):
        service.say(running.id, text)
    service.progress(running.id, 42)
    error = JobError(code="no_audio_stream", message="The file has no sound track.", fix="Send one that has.")
    failed = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)
    service.add_job(new_job_id(), REQUEST, status=JobStatus.CANCELLED, duration=7384.0)
    return {
        "upload": "/",
        "transcript": f"/jobs/{done.id}",
        "waiting": f"/jobs/{waiting.id}",
        "running": f"/jobs/{running.id}",
        "failed": f"/jobs/{failed.id}",
        "jobs": "/jobs",
        "compare": f"/compare?job={done.id}&job={again.id}",
        "diagnostics": "/diagnostics",
        "error": "/nothing",
    }


@pytest.mark.parametrize(
    "name",
    ["upload", "transcript", "waiting", "running", "failed", "jobs", "diagnostics", "error"],
)
def test_page_fits_and_can_be_read(
    visit: Callable[..., Any], pages: dict[str, str], tmp_path: Path, name: str
) -> None:
    visited = visit(pages[name])
    page: Page = visited.page
    if name == "running":
        page.get_by_text("42 %").wait_for()
    if name == "upload":
        page.get_by_text("More options").click()
        page.locator("input[type=file]").first.set_input_files(
            {"name": "A very long name of a recording.m4a", "mimeType": "audio/mp4", "buffer": b"x"}
        )
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))

    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(LOW_CONTRAST, AA) == [], (width, scheme)
            page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
    if name == "error":
        visited.complaints[:] = [text for text in visited.complaints if "404" not in text]


@pytest.mark.parametrize("language", ["de", "zh"])
def test_finished_job_is_all_in_the_language(
    visit: Callable[..., Any], pages: dict[str, str], tmp_path: Path, language: str
) -> None:
    """No text that has a translation is left in English, also where scripts write; nothing overflows."""
    texts = catalogue(language)
    english = {text for text, other in texts.items() if text != other}
    phrases = {part for text in english for part in GAP.split(text) if part.strip().count(" ") > 1}
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    visited = visit("/jobs", locale=language)
    page: Page = visited.page
    for name in ("transcript", "jobs", "compare"):
        page.goto(pages[name])
        assert page.evaluate("document.documentElement.lang") == language
        if name == "transcript":
            page.locator("[data-edit]").click()
            page.locator(".editor textarea").fill("Ask.")
            page.locator("[data-done]").click()
            page.locator("[data-save]").click()
            page.locator("[data-edited]", has_text=texts["edited"]).wait_for()
        said = page.evaluate(SAID)
        assert english & set(said) == set()
        assert [phrase for phrase in phrases if phrase in " ".join(said)] == []
        assert len(set(texts.values()) & set(said)) > 5
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(SCROLLED) == []
            page.screenshot(path=folder / f"{name}-{language}-{width}.png", full_page=True)


def catalogue(language: str) -> dict[str, str]:
    """Every text of the pages, and how the language says it."""
    known = gettext.translation("messages", FOLDER, languages=[language])._catalog  # type: ignore[attr-defined]
    texts = {key if isinstance(key, str) else key[0]: text for key, text in known.items()}
    return {text: other for text, other in texts.items() if text}
