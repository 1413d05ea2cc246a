"""Tab-separated values (.tsv): start and end in whole milliseconds, and the text."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..domain.transcript import Transcription
from .cues import Cue, iter_cues, tells_voices

#: What a spreadsheet would compute, or take for the beginning of a quoted field: an invisible character without width
#: in front makes it text. Words after a dash, as in dialogues, are left alone.
_FORMULA = re.compile(r"[=+@\"]|-(?=.*[(|])")
_JOINER = "\u2060"


def render_tsv(transcription: Transcription) -> str:
    """A header and one row for each segment that has text; columns for speakers and languages where there are some."""
    cues = list(iter_cues(transcription))
    columns: dict[str, Callable[[Cue], str]] = {
        "start": lambda cue: str(cue.start_ms),
        "end": lambda cue: str(cue.end_ms),
    }
    if tells_voices(transcription):
        columns["speaker"] = lambda cue: _as_text(cue.speaker)
    if any(cue.language for cue in cues):
        columns["language"] = lambda cue: cue.language
    columns["text"] = lambda cue: _as_text(cue.text)
    rows = ["\t".join(value(cue) for value in columns.values()) + "\n" for cue in cues]
    return "\t".join(columns) + "\n" + "".join(rows)


def _as_text(text: str) -> str:
    return _JOINER + text if _FORMULA.match(text) else text
