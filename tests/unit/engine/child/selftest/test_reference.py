"""The self-test's clip and its references: files that ship, and those that can't be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from transcriber.domain.selftest import CLIP_TEXT
from transcriber.domain.word_errors import word_errors, words_of
from transcriber.engine.child.selftest.reference import difference, load_clip, load_reference, make_reference
from transcriber.engine.selftest.references import SHIPPED
from transcriber.models.catalogue import find_model


def test_the_clip_is_a_few_seconds_of_sound() -> None:
    clip = load_clip()

    assert 3 < clip.seconds < 5
    assert 0.01 < float(np.abs(clip.samples).mean()) < 0.5


@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_shipped_reference_is_of_this_clip_and_of_a_pinned_model(name: str) -> None:
    reference = load_reference(SHIPPED / f"{name}.json", load_clip())

    assert reference is not None
    assert (reference.model, reference.compute_type) == (name, "float32")
    assert words_of(reference.text) == words_of(CLIP_TEXT)
    assert len(reference.values) == 1024 and len(set(reference.values)) > 900
    assert find_model(name) is not None


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"values": 3}'])
def test_file_that_is_no_reference_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "reference.json"
    path.write_text(content)

    assert load_reference(path, load_clip()) is None


def test_reference_of_another_clip_is_none(tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    path.write_text(json.dumps(json.loads((SHIPPED / "base.json").read_bytes()) | {"clip_sha256": "0"}))

    assert load_reference(path, load_clip()) is None


def test_reference_survives_its_file(tmp_path: Path) -> None:
    clip = load_clip()
    numbers = np.random.default_rng(0).normal(0, 1, (1, 1500, 80)).astype(np.float32)
    made = make_reference("own", "int8_float32", clip, numbers, "Words.")
    path = tmp_path / "own.json"
    path.write_text(json.dumps(made.to_dict()))

    read = load_reference(path, clip)

    assert read == made
    assert read is not None
    assert difference(numbers, read, clip) < 1e-4
    assert difference(-numbers, read, clip) == pytest.approx(2.0, rel=1e-3)
    assert difference(numbers[:, :, :40], read, clip) > 0.5


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        ("Ask what YOU can do, for your country!", 0.0),
        ("ask what you can do for you country", 0.125),
        ("ask what you can do", 0.375),
        ("so ask what you can do for your country", 0.125),
        ("", 1.0),
        ("!!!!", 1.0),
    ],
)
def test_word_errors_count_wrong_missing_and_added_words(heard: str, errors: float) -> None:
    assert word_errors(heard, CLIP_TEXT) == errors
