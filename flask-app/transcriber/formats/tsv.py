"""Tab-separated values (.tsv): start and end in whole milliseconds, and the text."""

from __future__ import annotations

import re

from ..domain.transcript import Transcription
from .cues import iter_cues

#: What a spreadsheet would compute, or take for the beginning of a quoted field: an invisible character without width
#: in front makes it text. Words after a dash, as in dialogues, are left alone.
_FORMULA = re.compile(r"[=+@\"]|-(?=.*[(|])")
_JOINER = "\u2060"


def render_tsv(transcription: Transcription) -> str:
    """A header and one row for each segment that has text; a column for the speakers where there are some."""
    cues = iter_cues(transcription)
    if transcription.speakers:
        rows = [
            f"{cue.start_ms}\t{cue.end_ms}\t{_as_text(cue.speaker)}\t{_as_text(cue.text)}\n" for cue in cues
        ]
        return "start\tend\tspeaker\ttext\n" + "".join(rows)
    rows = [f"{cue.start_ms}\t{cue.end_ms}\t{_as_text(cue.text)}\n" for cue in cues]
    return "start\tend\ttext\n" + "".join(rows)


def _as_text(text: str) -> str:
    return _JOINER + text if _FORMULA.match(text) else text
