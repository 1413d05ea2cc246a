from __future__ import annotations

import re
from pathlib import Path

import pytest

from transcriber.models.catalogue import ALIASES, CATALOGUE, canonical_name, find_model

DOCS = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_every_row_is_pinned(row) -> None:
    assert re.fullmatch(r"[\w-]+/[\w.-]+", row.repository)
    assert re.fullmatch(r"[0-9a-f]{40}", row.revision)
    assert row.model_bytes > 10**7
    assert "model.bin" in row.sha256
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in row.sha256.values())


def test_no_two_rows_share_a_name_a_revision_or_weights() -> None:
    assert len({row.name for row in CATALOGUE}) == len(CATALOGUE)
    assert len({row.revision for row in CATALOGUE}) == len(CATALOGUE)
    assert len({row.sha256["model.bin"] for row in CATALOGUE}) == len(CATALOGUE)


def test_turbo_and_english_models_can_t_translate() -> None:
    assert {row.name for row in CATALOGUE if not row.can_translate} == {"tiny.en", "large-v3-turbo"}
    assert {row.name for row in CATALOGUE if row.is_english_only} == {"tiny.en"}


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("turbo", "large-v3-turbo"),
        ("large", "large-v3"),
        ("Systran/faster-whisper-base", "base"),
        ("base", "base"),
        ("my-own", "my-own"),
    ],
)
def test_alias_is_another_name_of_a_row(alias: str, name: str) -> None:
    assert canonical_name(alias) == name


def test_every_alias_leads_to_a_row_and_hides_none() -> None:
    names = {row.name for row in CATALOGUE}
    assert set(ALIASES.values()) <= names
    assert not names & set(ALIASES)


def test_unknown_name_has_no_row() -> None:
    assert find_model("base ") is None
    assert find_model("BASE") is None


def test_documented_table_is_the_catalogue() -> None:
    rows = [
        tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
        for line in DOCS.read_text().splitlines()
        if line.startswith("| `")
    ]

    documented = [cells for cells in rows if len(cells) == 7]

    assert documented == [
        (
            row.name,
            row.repository,
            row.revision,
            str(row.model_bytes),
            row.sha256["model.bin"],
            "English" if row.is_english_only else "99 and more",
            "yes" if row.can_translate else "no",
        )
        for row in CATALOGUE
    ]


def test_documented_aliases_are_the_catalogue_s() -> None:
    text = DOCS.read_text()
    short = {alias: name for alias, name in ALIASES.items() if "/" not in alias}

    assert all(f"`{alias}` is `{name}`" in text for alias, name in short.items())
