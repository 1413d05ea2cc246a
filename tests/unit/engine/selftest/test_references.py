"""Which file holds the reference of a model: only that of these very weights."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from transcriber.engine.selftest.references import SHIPPED, ReferenceStore
from transcriber.models.finder import LocalModel
from transcriber.system.durable_files import write_small


@pytest.fixture
def model(tmp_path: Path) -> LocalModel:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return LocalModel(
        name="base",
        path=folder,
        source="folder",
        repository=None,
        revision=None,
        verified=True,
        can_translate=True,
        is_english_only=False,
        size_bytes=7,
    )


@pytest.fixture
def book(tmp_path: Path) -> ReferenceStore:
    return ReferenceStore(tmp_path / "selftest", write_small)


def test_verified_weights_have_the_shipped_reference(book: ReferenceStore, model: LocalModel) -> None:
    assert book.find(model) == SHIPPED / "base.json"


def test_weights_that_only_have_the_name_do_not(book: ReferenceStore, model: LocalModel) -> None:
    assert book.find(replace(model, verified=False)) is None


def test_reference_that_was_made_here_is_found_until_the_weights_change(
    book: ReferenceStore, model: LocalModel
) -> None:
    own = replace(model, name="own", verified=False)
    assert book.find(own) is None

    book.keep(own, {"model": "own"})
    found = book.find(own)
    os.utime(own.path / "model.bin", (1, 1))

    assert found is not None and found.read_text() == '{"model": "own"}'
    assert book.find(own) is None


def test_folder_without_weights_has_none(book: ReferenceStore, model: LocalModel) -> None:
    (model.path / "model.bin").unlink()
    own = replace(model, verified=False)

    book.keep(own, {})

    assert book.find(own) is None
