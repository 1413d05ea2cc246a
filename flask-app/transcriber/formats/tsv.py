"""Tab-separated values (.tsv): start and end in whole milliseconds, and the text."""

from __future__ import annotations

from ..domain.transcript import Transcription
from .cues import iter_cues


def render_tsv(transcription: Transcription) -> str:
    """A header and one row for each segment that has text."""
    rows = [f"{cue.start_ms}\t{cue.end_ms}\t{cue.text}\n" for cue in iter_cues(transcription)]
    return "start\tend\ttext\n" + "".join(rows)
