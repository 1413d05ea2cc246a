"""axe-core on a page: what keeps people out of it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

_AXE = Path(__file__).parents[1] / "browser" / "vendor" / "axe-core@4.14.1" / "axe.min.js"


def violations(page: Page) -> list[str]:
    """What axe-core objects to: all its rules, best practices included. Its script comes past the page's policy."""
    if page.evaluate("typeof axe") != "object":
        page.evaluate(_AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def violations_in_light_and_dark(page: Page) -> list[str]:
    """The same, with both colour schemes. Motion is reduced, so that no colour is met on its way to another."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        found += [f"{scheme}: {one}" for one in violations(page)]
    return found
