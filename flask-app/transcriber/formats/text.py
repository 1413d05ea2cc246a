"""Plain text (.txt): the words, and a newline."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ..domain.transcript import Transcription
from .cues import Cue, iter_cues, plain, tells_voices


def render_text(transcription: Transcription) -> str:
    """The transcript's text alone; with speakers or languages, a paragraph for each that has the word. Each line is plain:
    it goes to terminals as it is."""
    if tells_voices(transcription) or any(segment.language for segment in transcription.segments):
        turns = groupby(iter_cues(transcription), key=lambda cue: (cue.speaker, cue.language))
        return "\n\n".join(_paragraph(cues) for _, cues in turns) + "\n"
    return "\n".join(map(plain, transcription.text.strip().splitlines())) + "\n"


def _paragraph(cues: Iterable[Cue]) -> str:
    first, *others = cues
    return " ".join((first.spoken, *(cue.text for cue in others)))
