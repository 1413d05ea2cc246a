"""SubRip (.srt): numbered cues, a comma before the milliseconds."""

from __future__ import annotations

import re

from ..domain.transcript import Transcription
from .cues import Cue, clock_time, iter_cues

#: '-->' belongs to the time line. Longer arrows shrink too: cutting one out of '--->' would leave one.
_ARROW = re.compile(r"-{2,}>")


def render_srt(transcription: Transcription) -> str:
    """The transcript as SubRip; empty when nothing was said."""
    return "\n".join(_block(number, cue) for number, cue in enumerate(iter_cues(transcription), start=1))


def _block(number: int, cue: Cue) -> str:
    start, end = clock_time(cue.start_ms, ","), clock_time(cue.end_ms, ",")
    return f"{number}\n{start} --> {end}\n{_ARROW.sub('->', cue.text)}\n"
