"""Every page in light and dark, wide and narrow: nothing overflows, contrast holds, pictures are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from fakes import FakeService
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id

pytestmark = pytest.mark.browser

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


@pytest.fixture
def pages(service: FakeService) -> dict[str, str]:
    """Addresses of pages that show what there is to show."""
    done = service.add_job(
        new_job_id(), REQUEST, file_name="A very long name of a recording, as phones give.m4a"
    )
    service.finish(done.id)
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
