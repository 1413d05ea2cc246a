"""A window's drafts become segments in file time, ordered and inside the window."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.child.decoding.segmentation import DraftText, build_segments
from transcriber.engine.child.decoding.temperature_fallback import TemperatureAttempt
from transcriber.engine.child.decoding.word_timing import TimedWord
from transcriber.engine.child.windows import SpeechChunk, Window

ATTEMPT = TemperatureAttempt(
    tokens=(), avg_logprob=-0.2, no_speech_prob=0.1, compression_ratio=1.1, temperature=0.0
)
LOOP = replace(ATTEMPT, compression_ratio=9.0)
WINDOW = Window(index=2, start=160_000, end=480_000, speech=(SpeechChunk(start=160_000, end=480_000),))


def draft(
    start: float, end: float, text: str, word_times: list[tuple[float, float]] | None = None
) -> DraftText:
    parts = [f" {part}" for part in text.split()]
    words = word_times and tuple(
        TimedWord(start=low, end=high, word=part, probability=0.5, tokens=(7,))
        for part, (low, high) in zip(parts, word_times, strict=True)
    )
    return DraftText(
        start=start,
        end=end,
        tokens=(50_364, 7, 50_400),
        text_tokens=(7,),
        text="".join(parts),
        words=words or None,
        attempt=ATTEMPT,
    )


def test_times_are_those_of_the_file() -> None:
    (segment,) = build_segments([draft(1.0, 2.5, "hello")], WINDOW, keep_words=False).segments

    assert (segment.start, segment.end, segment.seek, segment.text) == (11.0, 12.5, 1000, " hello")
    assert segment.words is None
    assert segment.tokens == (50_364, 7, 50_400)


def test_words_asked_for_set_the_segments_times() -> None:
    words = [(1.2, 1.5), (1.5, 2.0)]

    (segment,) = build_segments([draft(0.0, 6.0, "hello world", words)], WINDOW, keep_words=True).segments

    assert (segment.start, segment.end) == (11.2, 12.0)
    assert [word.word for word in segment.words or ()] == [" hello", " world"]


def test_a_long_segment_is_cut_though_no_words_were_asked_for() -> None:
    words = [(0.0, 3.0), (3.0, 5.0), (5.5, 7.0), (7.0, 9.0)]

    segments = build_segments(
        [draft(0.0, 9.0, "one two. three four", words)], WINDOW, keep_words=False
    ).segments

    assert [(one.start, one.end, one.text) for one in segments] == [
        (10, 15, " one two."),
        (15.5, 19, " three four"),
    ]
    assert all(one.words is None for one in segments)


def test_segments_do_not_overlap() -> None:
    drafts = [draft(0, 6, "one two", [(0, 3), (3, 5.5)]), draft(4, 6, "three", [(4.5, 6)])]

    one, two = build_segments(drafts, WINDOW, keep_words=True).segments

    assert (one.end, two.start, two.end) == (15.5, 15.5, 16)


def test_a_loop_that_has_no_time_is_dropped_and_counted() -> None:
    drafts = [
        draft(0, 19, "ask not"),
        *[replace(draft(19.98, 20, "ask not what you can do"), attempt=LOOP)] * 3,
    ]

    built = build_segments(drafts, WINDOW, keep_words=False)

    assert [segment.text for segment in built.segments] == [" ask not"]
    assert built.dropped == 18


def test_other_text_without_time_joins_the_text_before() -> None:
    built = build_segments([draft(0, 19, "for your"), draft(20, 20, "country")], WINDOW, keep_words=False)

    assert [(segment.end, segment.text) for segment in built.segments] == [(30, " for your country")]
    assert built.dropped == 0


def test_dots_are_no_text() -> None:
    assert build_segments([draft(0, 5, ". . .")], WINDOW, keep_words=False).segments == ()


times = st.floats(-1, 40)


@given(
    st.lists(st.tuples(times, times, st.lists(st.tuples(times, times), max_size=12)), max_size=6),
    st.booleans(),
)
def test_whatever_the_model_says_times_are_ordered_and_inside(rows: list, keep_words: bool) -> None:
    drafts = [
        draft(max(0, min(a, b)), max(0, a, b), " ".join("w" * len(words)) or "text", words or None)
        for a, b, words in rows
    ]

    segments = build_segments(drafts, WINDOW, keep_words=keep_words).segments

    flat = [time for segment in segments for time in (segment.start, segment.end)]
    assert flat == sorted(flat)
    assert all(10 <= time <= 30 for time in flat)
    assert all(segment.start < segment.end for segment in segments)
    for segment in segments:
        inside = [time for word in segment.words or () for time in (word.start, word.end)]
        assert inside == sorted(inside)
        assert all(segment.start <= time <= segment.end for time in inside)
