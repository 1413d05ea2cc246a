"""What scripts/bench-words finds fault with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from speech_errors import Errors
from words_report import BATCHED, SERVICE, Run, broken_times, broken_words, ratios, table, with_results
from words_score import Piece, Score, score
from words_sounds import Spoken, own_material, recipes

SAID = [
    Spoken(
        start=1.0,
        end=6.0,
        language="en",
        text="And so my fellow Americans, ask not what your country can do for you.",
    )
]


def run(
    way: str, errors: int = 0, *, recording: str = "joined", seconds: float = 1.0, **found: tuple[str, ...]
) -> Run:
    return Run(
        recording=recording,
        way=way,
        audio_seconds=60,
        seconds=seconds,
        cpu_seconds=2 * seconds,
        score=Score(errors=Errors(substitutions=errors, words=100), **found),
    )


@pytest.mark.parametrize(
    ("pieces", "lost", "repeats", "invented"),
    [
        ([(1.0, 6.0, SAID[0].text)], 0, 0, 0),
        ([(1.0, 6.0, "And so my fellow Americans, ask not what.")], 1, 0, 0),
        ([(1.0, 6.0, "And so my fellow Americans, ask not what your country can do.")], 0, 0, 0),
        ([(1.0, 3.0, "And so my fellow Americans,"), (3.0, 6.0, "and so my fellow Americans, ask not what your country can do for you.")], 0, 1, 0),
        ([(1.0, 6.0, SAID[0].text), (8.0, 9.0, "Thank you.")], 0, 0, 1),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_text_is_counted(
    pieces: list[tuple[float, float, str]], lost: int, repeats: int, invented: int
) -> None:
    found = score(SAID, "en", [Piece(start=start, end=end, text=text) for start, end, text in pieces])

    assert (len(found.lost), len(found.repeats), len(found.invented)) == (lost, repeats, invented)


def test_each_promise_on_words_is_held_against_its_measure() -> None:
    service, bare = run(SERVICE, 3), run("bare, vad", 2)

    assert broken_words("base", [service, bare], Score(errors=Errors(words=100))) == [
        "base, joined: 3.0 % (0 left out), more than the best bare way",
        "base, joined: 3.0 % (0 left out), alone 0.0 % (0 left out)",
    ]
    assert (
        broken_words("base", [run(SERVICE, 2), bare], Score(errors=Errors(substitutions=1, words=100))) == []
    )
    assert broken_words("base", [service], None, floor=0.02) == [
        "base, joined: 3.0 % (0 left out), more than 2 %"
    ]
    assert broken_words("base", [run(SERVICE, lost=("four words are gone",))], None) == [
        "base, joined: lost: 1"
    ]


def test_times_are_held_against_batched_at_its_best_size() -> None:
    runs = [run(SERVICE, seconds=9), run(f"{BATCHED} 4", seconds=20), run(f"{BATCHED} 8", seconds=10)]

    assert ratios(runs) == {"joined": (0.9, 0.9)}
    assert broken_times("tiny.en", runs) == []
    assert broken_times("base", runs) == ["base, joined: 0.90 times bare batched, 0.8 promised"]
    assert table(runs, None).count("\n") == 5


def test_results_go_between_their_marks_on_the_page() -> None:
    assert with_results("a <!-- words -->\nold\n<!-- /words --> b", "new") == (
        "a <!-- words -->\nnew\n<!-- /words --> b"
    )
    with pytest.raises(ValueError, match="words"):
        with_results("nothing", "new")


def test_what_a_script_builds_by_default_is_what_its_clips_allow() -> None:
    material = own_material()
    without = replace(material, clips={"en": material.clips["en"]})

    assert {"joined", "recurring", "no-speech", "joined-es", "joined-fr"} <= set(recipes(material))
    assert not {name for name in recipes(without) if name.startswith("joined-")}
    for name, recipe in recipes(material).items():
        assert recipe(material, 1).seconds > 20, name
