"""Pure: whether a text that repeats itself was spoken, or is a loop of the model's."""

from __future__ import annotations

from .word_timing import TokenTimes

#: In speech hardly a token begins when the one before it does; in a loop nearly all of them do, as there is nothing in
#: the audio that they could be aligned with. Measured with base and tiny.en: 0.62 and more in
#: loops, 0.35 and less in sentences that were spoken again and again.
_MOST_TIMELESS = 0.5


def is_spoken(times: TokenTimes) -> bool:
    """Whether the tokens have times of their own in the audio."""
    steps = list(zip(times.starts, times.starts[1:], strict=False))
    timeless = sum(after <= before for before, after in steps)
    return timeless < _MOST_TIMELESS * len(steps)
