"""Work is counted, not timed: twice the text costs about twice the steps, for every function over users' text.

Steps of Python are counted by a tracer. What runs in C, searches with patterns above all, can't be counted so: it goes
through texts so long that anything quadratic takes minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from transcriber.domain.comparison import compare
from transcriber.domain.edits import EDIT_STEPS, EditedSegment, apply_edit
from transcriber.domain.errors import WorkCancelledError, WorkLimitError
from transcriber.domain.suspicions import find_suspicions
from transcriber.domain.text_matching import MOST_STEPS, matching_blocks
from transcriber.domain.transcript import Segment, Word
from transcriber.domain.work_budget import WorkBudget
from transcriber.formats.cues import one_line
from transcriber.formats.lines import break_lines, find_faults
from transcriber.formats.table import DOWNLOADS, Document
from transcriber.jobs.store.full_text import indexed, parse_query
from transcriber.web.file_names import download_name, shown_name
from transcriber.web.transcripts.page import _rows
from transcriptions import make_segment, make_transcription

#: Of twice the text; a little more than twice, as sorting and searching have a logarithm.
MOST_GROWTH = 2.2

#: Text that has cost more than its size, in one place or another.
TEXTS: dict[str, Callable[[int], str]] = {
    "words": lambda n: "word " * (n // 5),
    "marks": lambda n: "\u0e38" * n + "ก" * 50,
    "dashes": lambda n: "-" * n,
    "arrows": lambda n: "-->" * (n // 3),
    "spaces": lambda n: "a" + " " * n + "b",
    "tail of spaces": lambda n: "a" + " " * n,
    "lines": lambda n: "a\n" * (n // 2),
    "wide": lambda n: "漢字" * (n // 2),
    "accents": lambda n: "e\u0301" * (n // 2),
    "tags": lambda n: "<b{\\" * (n // 4),
    "one word": lambda n: "a" * n,
    "nearly periodic": lambda n: ("aaaaaaaaaab" * (n // 11 + 1))[:n],
    "quotes": lambda n: "\"'&" * (n // 3),
    "controls": lambda n: "\x02\x03 漢" * (n // 4),
}


def words_of(text: str) -> tuple[Word, ...]:
    parts = text.split()
    return tuple(
        Word(start=float(at), end=at + 0.9, word=" " + part, probability=0.9) for at, part in enumerate(parts)
    )


def spoken(text: str) -> Segment:
    return make_segment(end=float(max(1, len(text.split()))), text=text, words=words_of(text))


def edited(text: str) -> EditedSegment:
    return EditedSegment(start=0.0, end=float(max(1, len(text.split()))), text=text, sources=(0,))


def written(ending: str) -> Callable[[str], object]:
    row = DOWNLOADS[ending]

    def render(text: str) -> object:
        transcription = make_transcription(segments=(make_segment(text=text),), text=text)
        if not isinstance(row, Document) and row.render_lines is not None:
            return row.render_lines(transcription, 42)
        return row.render(transcription)

    return render


#: Every function over a text that a user may write.
FUNCTIONS: dict[str, Callable[[str], object]] = {
    "break_lines": lambda text: break_lines(one_line(text), 42),
    "break_lines as it came": lambda text: break_lines(text, 42),
    "break_lines of one": lambda text: break_lines(text, 1),
    "find_faults": lambda text: find_faults([make_segment(text=text)]),
    "find_suspicions": lambda text: find_suspicions([make_segment(text=text)]),
    "page row": lambda text: list(_rows([(spoken(text), (), ())])),
    "apply_edit": lambda text: apply_edit([spoken("a b c")], [edited(text)]),
    "apply_edit to nothing": lambda text: apply_edit([spoken(text)], [edited("a")]),
    "compare": lambda text: compare([make_segment(text=text)], [make_segment(text=text + " end")]),
    "indexed": indexed,
    "parse_query": parse_query,
    "shown_name": shown_name,
    "download_name": lambda text: download_name(text, "job", "srt"),
    **{f"as {ending}": written(ending) for ending in DOWNLOADS},
}


#: These compare for a counted number of steps; difflib runs some lines for each. That is half a second's work.
BUDGETED = (FUNCTIONS["compare"],)
MOST_LINES = 8 * MOST_STEPS


def steps(work: Callable[[], object]) -> int:
    """Lines of Python that this runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_twice_the_text_takes_twice_the_steps(
    function: Callable[[str], object], text: Callable[[int], str]
) -> None:
    small, large = text(1500), text(3000)
    function(small)

    few, many = steps(lambda: function(small)), steps(lambda: function(large))

    assert many <= max(MOST_GROWTH * few + 200, MOST_LINES if function in BUDGETED else 0)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_hundred_thousand_characters_take_no_second(
    function: Callable[[str], object], text: Callable[[int], str]
) -> None:
    """What is quadratic in C takes many: a pattern that begins anew at each of a row of dashes took over a minute."""
    long = text(100_000)

    begun = time.thread_time()
    function(long)

    assert time.thread_time() - begun < 2.0


def segments(count: int, text: str = " Ask what you can do.") -> list[Segment]:
    return [make_segment(id=at, start=at * 2.0, end=at * 2.0 + 2, text=text) for at in range(count)]


@pytest.mark.parametrize(
    "function",
    [
        find_faults,
        find_suspicions,
        lambda some: compare(some, some),
        lambda some: compare(some, some[::-1]),
        lambda some: apply_edit(
            some, [EditedSegment(start=one.start, end=one.end, text="Other words.", sources=(one.id,)) for one in some]
        ),
        lambda some: DOWNLOADS["srt"].render(make_transcription(segments=tuple(some))),
        lambda some: DOWNLOADS["docx"].render(make_transcription(segments=tuple(some))),
    ],
    ids=["faults", "suspicions", "compare", "compare reversed", "edit", "srt", "docx"],
)  # fmt: skip
def test_twice_the_segments_take_twice_the_steps(function: Callable[[list[Segment]], object]) -> None:
    few, many = steps(lambda: function(segments(300))), steps(lambda: function(segments(600)))

    assert many <= MOST_GROWTH * few


def test_near_periodic_text_is_compared_for_a_counted_number_of_steps() -> None:
    a, b = "x" + ("a" * 10 + "b") * 180 + "y", "z" + ("a" * 9 + "c") * 200 + "w"
    budget = WorkBudget(10**9)

    found = matching_blocks(a, b, budget)

    assert found == sorted(found)
    assert budget.spent <= MOST_STEPS
    assert steps(lambda: matching_blocks(a, b, WorkBudget(10**9))) < 40 * MOST_STEPS


def test_without_a_budget_the_text_counts_as_different() -> None:
    assert matching_blocks("abcabc", "abcabd", WorkBudget(3)) == []


def test_one_source_named_over_and_over_is_carried_once() -> None:
    source = spoken("a " * 1000)
    once = EditedSegment(start=0, end=1000, text="b", sources=(0,))
    often = EditedSegment(start=0, end=1000, text="b", sources=(0,) * 3000)

    # As text: what was not measured is NaN, which is not equal to itself (Python 3.13 compares field by field).
    assert repr(apply_edit([source], [often])) == repr(apply_edit([source], [once]))
    assert steps(lambda: apply_edit([source], [often])) < 1.1 * steps(lambda: apply_edit([source], [once]))


def test_edit_that_carries_the_same_words_over_and_over_is_refused_before_it_is_saved() -> None:
    source = spoken("a " * 1000)

    with pytest.raises(WorkLimitError):
        apply_edit([source], [EditedSegment(start=0, end=1000, text="b", sources=(0,))] * 10_000)


def test_day_of_speech_in_which_everything_was_corrected_is_honest_work() -> None:
    words = 8
    count = 24 * 3600 // 4
    heard = [
        make_segment(
            id=at, start=at * 4.0, end=at * 4.0 + 4, text=" one two three four five six seven eight",
            words=tuple(
                Word(start=at * 4.0 + n / 2, end=at * 4.0 + n / 2 + 0.4, word=f" {word}", probability=0.9)
                for n, word in enumerate("one two three four five six seven eight".split())
            ),
        )
        for at in range(count)
    ]  # fmt: skip
    budget = WorkBudget(EDIT_STEPS)

    made = apply_edit(
        heard,
        [
            EditedSegment(start=one.start, end=one.end, text="one two 3 four five 6 seven eight", sources=(one.id,))
            for one in heard
        ],
        budget,
    )  # fmt: skip

    assert sum(len(one.words or ()) for one in made) == words * count


def test_cancelled_work_ends() -> None:
    budget = WorkBudget(10**9)
    budget.cancel()

    with pytest.raises(WorkCancelledError):
        matching_blocks("abc", "abd", budget)
