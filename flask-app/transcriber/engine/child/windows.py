"""Pure cutting of a file into windows: contiguous spans of the original audio, none longer than 30 s.

A window is never glued together from pieces, so a time inside it is exact by adding its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...domain.ports import SAMPLE_RATE

#: The model's input: 30 s.
WINDOW_SAMPLES = 30 * SAMPLE_RATE

#: A full window is cut at the longest pause after this many samples, rather than at the last one.
_PREFERRED_SAMPLES = 24 * SAMPLE_RATE

#: Speech further apart than this gets windows of its own: in a long silence the model loses its place.
_GAP_SAMPLES = 5 * SAMPLE_RATE

#: Speech without a pause is cut at its least speechy point in this last part of a full window.
_SEARCH_SAMPLES = 10 * SAMPLE_RATE

#: Without VAD, the quietest point of the last five seconds is the cut.
_QUIET_SEARCH_SAMPLES = 5 * SAMPLE_RATE

#: A window that is to tell the file's language should hold this much speech.
_TELLING_SAMPLES = 5 * SAMPLE_RATE

#: Speech left after the model stopped: with an open end it is decoded again, with a closed end only if longer.
_OPEN_REST_SAMPLES = 1 * SAMPLE_RATE
_CLOSED_REST_SAMPLES = 3 * SAMPLE_RATE

#: Takes (low, high), in samples: where between them to cut.
FindCut = Callable[[int, int], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechChunk:
    """A stretch of audio kept by VAD, padded, in samples. pause: the silence that went before it."""

    start: int
    end: int
    pause: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One input of the model, in samples of the file."""

    index: int
    start: int
    end: int
    speech: tuple[SpeechChunk, ...]

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


def pack(chunks: Iterable[SpeechChunk], find_cut: FindCut) -> Iterator[Window]:
    """Speech chunks packed into windows, each as soon as the chunk after it is known."""
    held: list[SpeechChunk] = []
    index = 0
    for chunk in _short_chunks(chunks, find_cut):
        while held and not _fits(held, chunk):
            count = _cut_after(held, chunk)
            yield _window(index, held[:count])
            held = held[count:]
            index += 1
        held.append(chunk)
    if held:
        yield _window(index, held)


def split_evenly(samples: int, find_cut: FindCut) -> Iterator[Window]:
    """The whole file as windows, cut at the quietest point before each is full. For vad_filter=false."""
    start = 0
    index = 0
    while samples - start > WINDOW_SAMPLES:
        high = start + WINDOW_SAMPLES
        cut = find_cut(high - _QUIET_SEARCH_SAMPLES, high)
        yield _window(index, [SpeechChunk(start=start, end=cut)])
        start = cut
        index += 1
    yield _window(index, [SpeechChunk(start=start, end=samples)])


def silent_window(samples: int) -> Window:
    """The window of a file without speech: its first 30 s, encoded so that the receipt is not empty."""
    return Window(index=0, start=0, end=min(samples, WINDOW_SAMPLES), speech=())


def has_rest(window: Window, resume_at: int, *, closed: bool) -> bool:
    """Whether a window holds speech after `resume_at` that the model has not written down.

    resume_at: samples from the window's start. closed: the model said that nothing follows; then only a long stretch
    of speech contradicts it.
    """
    least = _CLOSED_REST_SAMPLES if closed else _OPEN_REST_SAMPLES
    return resume_at > 0 and speech_between(window.speech, window.start + resume_at, window.end) >= least


def choose_telling(windows: Sequence[Window], *, complete: bool) -> int | None:
    """Which window is to tell the language: the first with enough speech; None: wait for more."""
    for position, window in enumerate(windows):
        if window.speech_samples >= _TELLING_SAMPLES:
            return position
    if not complete or not windows:
        return None
    return max(range(len(windows)), key=lambda position: windows[position].speech_samples)


def _short_chunks(chunks: Iterable[SpeechChunk], find_cut: FindCut) -> Iterator[SpeechChunk]:
    """The same speech with chunks longer than a window cut."""
    for chunk in chunks:
        rest = chunk
        while rest.end - rest.start > WINDOW_SAMPLES:
            high = rest.start + WINDOW_SAMPLES
            cut = find_cut(high - _SEARCH_SAMPLES, high)
            yield replace(rest, end=cut)
            rest = SpeechChunk(start=cut, end=chunk.end)
        yield rest


def _fits(held: Sequence[SpeechChunk], chunk: SpeechChunk) -> bool:
    return chunk.end - held[0].start <= WINDOW_SAMPLES and chunk.start - held[-1].end <= _GAP_SAMPLES


def _cut_after(held: Sequence[SpeechChunk], chunk: SpeechChunk) -> int:
    """How many of the held chunks make the window that ends before `chunk`."""
    if chunk.start - held[-1].end > _GAP_SAMPLES:
        return len(held)
    best, longest = len(held), chunk.pause
    for position in range(len(held) - 1, 0, -1):
        if held[position - 1].end - held[0].start < _PREFERRED_SAMPLES:
            break
        if held[position].pause > longest:
            best, longest = position, held[position].pause
    return best


def _window(index: int, chunks: Sequence[SpeechChunk]) -> Window:
    return Window(index=index, start=chunks[0].start, end=chunks[-1].end, speech=tuple(chunks))
