"""The documents point at what is there: links resolve, and files of the project that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask-app" / "transcriber"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: The worked examples' own new files.
EXAMPLES = {"formats/lrc.py"}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page

        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/contributing-tour.md", "SECURITY.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    names = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.[a-z]+)`", (ROOT / page).read_text())) - EXAMPLES

    assert names
    assert [
        name for name in sorted(names) if not (ROOT / name).exists() and not (PACKAGE / name).exists()
    ] == []
