"""Plain text (.txt): the words, and a newline."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ..domain.transcript import Transcription
from .cues import Cue, iter_cues, plain


def render_text(transcription: Transcription) -> str:
    """The transcript's text alone; with speakers, a paragraph for each that has the word. Each line is plain: it goes
    to terminals as it is."""
    if transcription.speakers:
        turns = groupby(iter_cues(transcription), key=lambda cue: cue.speaker)
        return "\n\n".join(_paragraph(speaker, cues) for speaker, cues in turns) + "\n"
    return "\n".join(map(plain, transcription.text.strip().splitlines())) + "\n"


def _paragraph(speaker: str, cues: Iterable[Cue]) -> str:
    text = " ".join(cue.text for cue in cues)
    return f"{speaker}: {text}" if speaker else text
