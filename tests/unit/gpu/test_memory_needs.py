"""The memory budget: the table and its formula, advice that fits by the same table, and docs that are current."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from transcriber.gpu import memory_needs
from transcriber.gpu.memory_needs import SHAPES, advise, find_need
from transcriber.models.catalogue import CATALOGUE

GB = 1_000_000_000
DOCUMENT = Path(__file__).parents[3] / "docs/gpu-operations.md"


def test_need_of_large_v3_is_the_documented_one() -> None:
    need = find_need("large-v3", "float16")

    assert need is not None
    assert f"{need / GB:.1f}" == "3.9"


def test_need_follows_the_formula() -> None:
    weights, context = 3_087_284_237, 350_000_000
    window = 32 * 2 * 1280 * (1500 + 5 * 224) * 2

    assert find_need("large-v3", "float16", batch_size=8) == weights + context + 8 * window


def test_encoder_decides_where_the_decoder_is_small() -> None:
    weights, context = 1_617_884_929, 350_000_000

    assert find_need("large-v3-turbo", "float16") == weights + context + 2 * 20 * 1500**2 * 2


def test_weights_and_abilities_are_those_of_the_catalogue() -> None:
    ours = [(s.name, s.weights_bytes, s.can_translate, s.is_english_only) for s in SHAPES]

    assert ours == [(r.name, r.model_bytes, r.can_translate, r.is_english_only) for r in CATALOGUE]


@pytest.mark.parametrize(
    ("model", "compute_type"), [("my-own", "float16"), ("large-v3", "int16"), ("large-v3", "auto")]
)
def test_what_the_table_does_not_know_gets_no_need_and_no_advice(model: str, compute_type: str) -> None:
    assert find_need(model, compute_type) is None
    assert advise(model, compute_type, 0) is None


@pytest.mark.parametrize(
    ("model", "compute_type", "free", "batch_size", "advice"),
    [
        (
            "large-v3",
            "float16",
            2.5,
            8,
            "large-v3 float16 needs about 3.9 GB; 2.5 GB is free: use int8_float16 or medium",
        ),
        (
            "large-v3",
            "float16",
            2.1,
            8,
            "large-v3 float16 needs about 3.9 GB; 2.1 GB is free: use medium int8_float16 or small",
        ),
        (
            "large-v3",
            "float16",
            0.2,
            1,
            "large-v3 float16 needs about 3.9 GB; 0.2 GB is free: use another GPU, or the CPU",
        ),
        (
            "large-v3",
            "float16",
            4.5,
            8,
            "large-v3 float16 needs about 6.9 GB for 8 windows at once; 4.5 GB is free: use WHISPER_BATCH_SIZE=2",
        ),
        (
            "large-v3-turbo",
            "int8",
            1.0,
            1,
            "large-v3-turbo int8 needs about 1.4 GB; 1.0 GB is free: use small",
        ),
        (
            "tiny.en",
            "float32",
            0.55,
            1,
            "tiny.en float32 needs about 0.6 GB; 0.6 GB is free: use int8_float32",
        ),
        ("large-v3", "float16", 4.0, 1, None),
        ("large-v3", "float16", 7.0, 8, None),
    ],
)
def test_advice(model: str, compute_type: str, free: float, batch_size: int, advice: str | None) -> None:
    assert advise(model, compute_type, int(free * GB), batch_size=batch_size) == advice


def test_format_that_the_card_lacks_is_not_recommended() -> None:
    advice = advise("large-v3", "float16", int(2.5 * GB), supported=("float16", "float32"))

    assert advice is not None
    assert advice.endswith("use medium")


def test_int8_on_a_card_without_float16_is_counted_as_that_card_computes_it() -> None:
    old_card = ("float32", "int8", "int8_float32")

    assert advise("large-v3", "int8", int(2.5 * GB)) is None
    assert "large-v3 int8_float32 needs about 2.8 GB" in str(
        advise("large-v3", "int8", int(2.5 * GB), supported=old_card)
    )


@pytest.mark.parametrize("compute_type", [kind.name for kind in memory_needs.COMPUTE_TYPES])
def test_all_that_is_recommended_fits(compute_type: str) -> None:
    for shape, free in itertools.product(SHAPES, range(0, 14 * GB, GB // 4)):
        advice = advise(shape.name, compute_type, free, batch_size=8)
        if advice is None:
            continue
        options = advice.partition("use ")[2]
        batch = re.fullmatch(r"WHISPER_BATCH_SIZE=(\d+)", options)
        if batch:
            need = find_need(shape.name, compute_type, batch_size=int(batch.group(1)))
            assert need is not None and need <= free
        elif "another GPU" not in options:
            assert all(_fits(option, shape.name, compute_type, free) for option in options.split(" or "))


def _fits(option: str, model: str, compute_type: str, free: int) -> bool:
    """Whether an option, 'TYPE', 'MODEL' or 'MODEL TYPE', fits by the table."""
    for word in option.split():
        if memory_needs.find_shape(word):
            model = word
        else:
            compute_type = word
    need = find_need(model, compute_type)
    return need is not None and need <= free


def test_docs_show_the_table_and_the_advice() -> None:
    text = DOCUMENT.read_text()

    assert memory_needs.markdown() in text
    for free, batch_size in ((2.5, 1), (2.1, 1), (4.5, 8)):
        assert f"\n{advise('large-v3', 'float16', int(free * GB), batch_size=batch_size)}\n" in text
