"""Plain text (.txt): the words, and a newline."""

from __future__ import annotations

from ..domain.transcript import Transcription
from .cues import plain


def render_text(transcription: Transcription) -> str:
    """The transcript's text alone; it goes to terminals as it is, so each of its lines is plain."""
    return "\n".join(map(plain, transcription.text.strip().splitlines())) + "\n"
