"""Debian's Chromium, as the browser tests and scripts/screenshots start it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, JSHandle, Page, Playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: A drop of these files, as a script can make one.
_TRANSFER = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of Object.entries(files)) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, {type: 'audio/wav'}));
  }
  return transfer;
}"""


def transfer_of(page: Page, files: Mapping[str, bytes]) -> JSHandle:
    """What a page is given when these files are dropped or pasted: name to bytes."""
    return page.evaluate_handle(
        _TRANSFER, {name: base64.b64encode(data).decode() for name, data in files.items()}
    )


@contextmanager
def chromium_that_hears(playwright: Playwright, speech: Path) -> Iterator[Browser]:
    """Chromium with a microphone into which this recording (WAV) is spoken, again and again."""
    microphone = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={speech}",
    )
    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*ARGUMENTS, *microphone])
    yield browser
    browser.close()


def require_chromium() -> None:
    """Missing: a failure in CI, a loud skip elsewhere."""
    if CHROMIUM.exists():
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail("Chromium is missing in CI: apt-get install chromium")
    pytest.skip("Chromium is missing: apt-get install chromium")
