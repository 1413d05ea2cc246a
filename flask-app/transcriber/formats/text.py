"""Plain text (.txt): the words, and a newline."""

from __future__ import annotations

from ..domain.transcript import Transcription


def render_text(transcription: Transcription) -> str:
    """The transcript's text alone."""
    return f"{transcription.text.strip()}\n"
