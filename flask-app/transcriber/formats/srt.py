"""SubRip (.srt): numbered cues, a comma before the milliseconds."""

from __future__ import annotations

import re

from ..domain.transcript import Transcription
from .cues import Cue, clock_time, iter_cues
from .lines import break_lines

#: '-->' belongs to the time line. Longer arrows shrink too: cutting one out of '--->' would leave one.
#: One that is not preceded by a dash: else each dash of a long row begins a search to its end.
_ARROW = re.compile(r"(?<!-)-{2,}>")


#: What players take for a tag or a command. SubRip knows no way to write it as text, so an invisible character
#: without width parts it.
_TAG = re.compile(r"<(?=[/A-Za-z])|\{(?=\\)")
_JOINER = "\u2060"


def render_srt(transcription: Transcription, line_length: int = 0) -> str:
    """The transcript as SubRip; empty when nothing was said. line_length 0: one line each."""
    cues = enumerate(iter_cues(transcription), start=1)
    return "\n".join(_block(number, cue, line_length) for number, cue in cues)


def _block(number: int, cue: Cue, line_length: int) -> str:
    start, end = clock_time(cue.start_ms, ","), clock_time(cue.end_ms, ",")
    text = "\n".join(break_lines(_as_text(cue.spoken), line_length))
    return f"{number}\n{start} --> {end}\n{text}\n"


def _as_text(text: str) -> str:
    return _TAG.sub(lambda match: match[0] + _JOINER, _ARROW.sub("->", text))
