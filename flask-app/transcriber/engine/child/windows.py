"""Pure cutting of a file into windows: contiguous spans of the original audio, none longer than 30 s.

A window is never glued together from pieces, so a time inside it is exact by adding its start.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...domain.ports import SAMPLE_RATE

#: The model's input: 30 s.
WINDOW_SAMPLES = 30 * SAMPLE_RATE

#: Speech without a pause is cut at its least speechy point in this last part of a full window.
_SEARCH_SAMPLES = 10 * SAMPLE_RATE

#: A window that the language is detected from should hold this much speech.
_TELLING_SAMPLES = 5 * SAMPLE_RATE

#: Speech left after the model stopped: with an open end it is decoded again, with a closed end only if longer.
_OPEN_REST_SAMPLES = 1 * SAMPLE_RATE
_CLOSED_REST_SAMPLES = 3 * SAMPLE_RATE

#: Music and noise that VAD takes for speech reach 0.6 to 0.81 at most, speech 0.96 and more (measured).
_SURE_PROBABILITY = 0.85

#: Takes (low, high), in samples: where between them to cut.
FindCut = Callable[[int, int], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechChunk:
    """A stretch of audio kept by VAD, padded, in samples. pause: the silence that went before it.

    peak: the highest probability of speech in it.
    """

    start: int
    end: int
    pause: int = 0
    peak: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One input of the model, in samples of the file.

    is_faint: VAD is not sure of any speech in it; text is taken from it only if the model hears speech, too.
    channel: of the file, where each is transcribed on its own.
    """

    index: int
    start: int
    end: int
    speech: tuple[SpeechChunk, ...]
    is_faint: bool = False
    channel: int | None = None

    @property
    def samples(self) -> int:
        return self.end - self.start

    @property
    def speech_samples(self) -> int:
        """Samples of speech in it."""
        return speech_between(self.speech, self.start, self.end)


def speech_between(speech: Iterable[SpeechChunk], low: int, high: int) -> int:
    """Samples of speech between two points."""
    return sum(max(0, min(chunk.end, high) - max(chunk.start, low)) for chunk in speech)


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """gap: speech further apart than this gets windows of its own: in a long silence the model loses its place.
    preferred: a full window is cut at the longest pause after this much, rather than at the last one.
    """

    gap: int = 5 * SAMPLE_RATE
    largest: int = WINDOW_SAMPLES
    preferred: int = 24 * SAMPLE_RATE


#: Windows end where the speaker pauses, as the language may change there.
MULTILINGUAL = Packing(gap=1 * SAMPLE_RATE, largest=15 * SAMPLE_RATE, preferred=8 * SAMPLE_RATE)


def pack(
    chunks: Iterable[SpeechChunk], find_cut: FindCut, packing: Packing | None = None
) -> Iterator[Window]:
    """Speech chunks packed into windows, each as soon as the chunk after it is known."""
    packing = packing or Packing()
    held: list[SpeechChunk] = []
    index = 0
    for chunk in _short_chunks(chunks, find_cut):
        while held and not _fits(held, chunk, packing):
            count = _cut_after(held, chunk, packing)
            yield _window(index, held[:count])
            held = held[count:]
            index += 1
        held.append(chunk)
    if held:
        yield _window(index, held)


def merge_channels(channels: Sequence[Iterator[Window]]) -> Iterator[Window]:
    """The windows of several channels as one plan, in the order in which they begin."""

    def marked(channel: int, windows: Iterator[Window]) -> Iterator[Window]:
        return (replace(window, channel=channel) for window in windows)

    each = [marked(channel, windows) for channel, windows in enumerate(channels)]
    for index, window in enumerate(heapq.merge(*each, key=lambda window: window.start)):
        yield replace(window, index=index)


def silent_window(samples: int) -> Window:
    """The window of a file without speech: its first 30 s, encoded so that the receipt is not empty."""
    return Window(index=0, start=0, end=min(samples, WINDOW_SAMPLES), speech=())


def find_rest(window: Window, resume_at: int, *, closed: bool) -> int | None:
    """Where speech goes on after `resume_at` that the model has not written down; samples from the window's start.

    closed: the model said that nothing follows; then only a long stretch of speech contradicts it.
    """
    place = window.start + resume_at
    least = _CLOSED_REST_SAMPLES if closed else _OPEN_REST_SAMPLES
    if resume_at <= 0 or speech_between(window.speech, place, window.end) < least:
        return None
    following = next(chunk for chunk in window.speech if chunk.end > place)
    return max(place, following.start) - window.start


def rank_telling(windows: Sequence[Window]) -> list[int]:
    """Which windows the language is detected from: those with enough speech in their order; without any, the one with the most."""
    enough = [
        place
        for place, window in enumerate(windows)
        if window.speech_samples >= _TELLING_SAMPLES and not window.is_faint
    ]
    if enough or not windows:
        return enough
    return [
        max(
            range(len(windows)),
            key=lambda place: (not windows[place].is_faint, windows[place].speech_samples),
        )
    ]


def _short_chunks(chunks: Iterable[SpeechChunk], find_cut: FindCut) -> Iterator[SpeechChunk]:
    """The same speech with chunks longer than a window cut."""
    for chunk in chunks:
        rest = chunk
        while rest.end - rest.start > WINDOW_SAMPLES:
            high = rest.start + WINDOW_SAMPLES
            cut = find_cut(high - _SEARCH_SAMPLES, high)
            yield replace(rest, end=cut)
            rest = SpeechChunk(start=cut, end=chunk.end, peak=chunk.peak)
        yield rest


def _fits(held: Sequence[SpeechChunk], chunk: SpeechChunk, packing: Packing) -> bool:
    return chunk.end - held[0].start <= packing.largest and chunk.start - held[-1].end <= packing.gap


def _cut_after(held: Sequence[SpeechChunk], chunk: SpeechChunk, packing: Packing) -> int:
    """How many of the held chunks make the window that ends before `chunk`."""
    if chunk.start - held[-1].end > packing.gap:
        return len(held)
    best, longest = len(held), chunk.pause
    for position in range(len(held) - 1, 0, -1):
        if held[position - 1].end - held[0].start < packing.preferred:
            break
        if held[position].pause > longest:
            best, longest = position, held[position].pause
    return best


def _window(index: int, chunks: Sequence[SpeechChunk]) -> Window:
    """Music that follows speech is in the window, but not in its speech: nothing is missing where no text is."""
    sure = [place for place, chunk in enumerate(chunks) if chunk.peak >= _SURE_PROBABILITY]
    return Window(
        index=index,
        start=chunks[0].start,
        end=chunks[-1].end,
        speech=tuple(chunks[: sure[-1] + 1] if sure else chunks),
        is_faint=not sure,
    )
