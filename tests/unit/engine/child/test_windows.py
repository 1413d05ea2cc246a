"""Windows: contiguous, in order, at most 30 s, and no speech lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from transcriber.engine.child.windows import (
    WINDOW_SAMPLES,
    SpeechChunk,
    Window,
    find_rest,
    merge_channels,
    pack,
    rank_telling,
    silent_window,
)

SECOND = 16_000


def chunk(start: float, end: float, pause: float = 0.0) -> SpeechChunk:
    return SpeechChunk(start=int(start * SECOND), end=int(end * SECOND), pause=int(pause * SECOND))


def middle(low: int, high: int) -> int:
    return (low + high) // 2


def spans(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start / SECOND, window.end / SECOND) for window in windows]


@st.composite
def speech(draw: st.DrawFn) -> list[SpeechChunk]:
    pieces = draw(
        st.lists(
            st.tuples(st.integers(0, 20 * SECOND), st.integers(1, 100 * SECOND)), min_size=1, max_size=30
        )
    )
    chunks, here = [], 0
    for gap, length in pieces:
        chunks.append(SpeechChunk(start=here + gap, end=here + gap + length, pause=gap))
        here += gap + length
    return chunks


@given(speech())
def test_windows_keep_all_speech_in_order_and_never_exceed_30_s(chunks: list[SpeechChunk]) -> None:
    windows = list(pack(chunks, middle))

    assert all(0 < window.samples <= WINDOW_SAMPLES for window in windows)
    assert all(one.end <= two.start for one, two in zip(windows, windows[1:], strict=False))
    assert [window.index for window in windows] == list(range(len(windows)))
    kept = sum(window.speech_samples for window in windows)
    assert kept == sum(chunk.end - chunk.start for chunk in chunks)


def test_consecutive_speech_is_packed_until_30_s() -> None:
    windows = list(pack([chunk(0, 10), chunk(11, 22), chunk(23, 31)], middle))

    assert spans(windows) == [(0, 22), (23, 31)]


def test_a_full_window_ends_at_the_longest_late_pause() -> None:
    chunks = [
        chunk(0, 25),
        chunk(26, 28, pause=1.0),
        chunk(28.2, 29.5, pause=0.2),
        chunk(29.7, 33, pause=0.2),
    ]

    assert spans(list(pack(chunks, middle))) == [(0, 25), (26, 33)]


def test_speech_after_a_long_silence_gets_its_own_window() -> None:
    assert spans(list(pack([chunk(0, 2), chunk(9, 11)], middle))) == [(0, 2), (9, 11)]


def test_speech_without_a_pause_is_cut_where_it_is_least_speechy() -> None:
    asked: list[tuple[int, int]] = []

    def find_cut(low: int, high: int) -> int:
        asked.append((low, high))
        return low + SECOND

    windows = list(pack([chunk(5, 45)], find_cut))

    assert asked == [(25 * SECOND, 35 * SECOND)]
    assert spans(windows) == [(5, 26), (26, 45)]


def test_windows_come_before_all_speech_is_known() -> None:
    def endless() -> object:
        start = 0.0
        while True:
            yield chunk(start, start + 20)
            start += 20

    windows = pack(endless(), middle)  # type: ignore[arg-type]

    assert spans([next(windows), next(windows)]) == [(0, 20), (20, 40)]


def test_channels_are_one_plan_in_the_order_of_time() -> None:
    left = pack([chunk(0, 4), chunk(20, 24)], middle)
    right = pack([chunk(5, 9)], middle)

    windows = list(merge_channels([left, right]))

    assert [(window.index, window.channel, window.start // SECOND) for window in windows] == [
        (0, 0, 0),
        (1, 1, 5),
        (2, 0, 20),
    ]


def test_a_window_is_faint_only_if_vad_is_sure_of_nothing_in_it() -> None:
    sure, unsure = replace(chunk(0, 2), peak=0.97), replace(chunk(3, 4), peak=0.7)

    assert [window.is_faint for window in pack([sure, unsure], middle)] == [False]
    assert [window.is_faint for window in pack([unsure], middle)] == [True]


def test_music_after_speech_is_in_the_window_and_no_missing_speech() -> None:
    said, music = replace(chunk(0, 4), peak=0.97), replace(chunk(5, 12), peak=0.7)

    (window,) = pack([said, music], middle)

    assert (window.start, window.end) == (said.start, music.end)
    assert window.speech == (said,)
    assert find_rest(window, said.end, closed=True) is None


def test_a_silent_file_still_has_one_window() -> None:
    assert spans([silent_window(100 * SECOND)]) == [(0, 30)]
    assert silent_window(100 * SECOND).speech == ()


def test_speech_after_an_open_end_is_decoded_again() -> None:
    window = Window(index=3, start=SECOND, end=20 * SECOND, speech=(chunk(1, 8), chunk(13, 20)))

    assert find_rest(window, 5 * SECOND, closed=False) == 5 * SECOND
    assert find_rest(window, 10 * SECOND, closed=False) == 12 * SECOND


def test_the_model_is_believed_that_nothing_follows_unless_much_does() -> None:
    window = Window(index=0, start=0, end=20 * SECOND, speech=(chunk(0, 20),))

    assert find_rest(window, 18 * SECOND, closed=True) is None
    assert find_rest(window, 18 * SECOND, closed=False) is not None
    assert find_rest(window, 16 * SECOND, closed=True) is not None


def test_a_rest_without_speech_or_without_progress_is_left() -> None:
    window = Window(index=0, start=0, end=20 * SECOND, speech=(chunk(0, 5),))

    assert find_rest(window, 5 * SECOND, closed=False) is None
    assert find_rest(window, 0, closed=False) is None


def test_windows_with_enough_speech_tell_the_language() -> None:
    short = Window(index=0, start=0, end=2 * SECOND, speech=(chunk(0, 2),))
    shorter = Window(index=1, start=8 * SECOND, end=9 * SECOND, speech=(chunk(8, 9),))
    long = Window(index=2, start=15 * SECOND, end=25 * SECOND, speech=(chunk(15, 25),))

    assert rank_telling([short, shorter, long, long]) == [2, 3]
    assert rank_telling([shorter, short]) == [1]
    assert rank_telling([replace(short, is_faint=True), shorter]) == [1]
    assert rank_telling([]) == []
