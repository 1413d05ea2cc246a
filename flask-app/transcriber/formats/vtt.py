"""WebVTT (.vtt): a header, cues with a point before the milliseconds, text escaped as its grammar asks."""

from __future__ import annotations

from ..domain.transcript import Transcription
from .cues import Cue, clock_time, iter_cues


def render_vtt(transcription: Transcription) -> str:
    """The transcript as WebVTT; the header alone when nothing was said."""
    return "WEBVTT\n\n" + "\n".join(_block(cue) for cue in iter_cues(transcription))


def _block(cue: Cue) -> str:
    return f"{clock_time(cue.start_ms, '.')} --> {clock_time(cue.end_ms, '.')}\n{_escaped(cue.text)}\n"


def _escaped(text: str) -> str:
    """Without the three characters that begin a tag or an entity, or end '-->'."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
