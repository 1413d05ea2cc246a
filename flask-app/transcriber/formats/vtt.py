"""WebVTT (.vtt): a header, cues with a point before the milliseconds, text escaped as its grammar asks."""

from __future__ import annotations

from ..domain.transcript import Transcription
from .cues import Cue, clock_time, iter_cues
from .lines import break_lines


def render_vtt(transcription: Transcription, line_length: int = 0) -> str:
    """The transcript as WebVTT; the header alone when nothing was said. line_length 0: one line each."""
    return "WEBVTT\n\n" + "\n".join(_block(cue, line_length) for cue in iter_cues(transcription))


def _block(cue: Cue, line_length: int) -> str:
    text = "\n".join(_escaped(line) for line in break_lines(cue.text, line_length))
    if cue.language:
        text = f"<lang {_escaped(cue.language)}>{text}</lang>"
    if cue.speaker:
        # The annotation of a voice ends at '>'; an entity is text there, too.
        text = f"<v {_escaped(cue.speaker)}>{text}</v>"
    return f"{clock_time(cue.start_ms, '.')} --> {clock_time(cue.end_ms, '.')}\n{text}\n"


def _escaped(text: str) -> str:
    """Without the three characters that begin a tag or an entity, or end '-->'."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
