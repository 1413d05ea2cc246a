"""Advanced SubStation Alpha (.ass): one style, one event a segment, nothing in the text that could be a command."""

from __future__ import annotations

from ..domain.transcript import Transcription
from .cues import Cue, iter_cues
from .lines import break_lines

_HEAD = """\
[Script Info]
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
WrapStyle: 0
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, \
MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H000000FF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,96,96,54,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""

#: Invisible and without width: a backslash in front of it begins no command.
_JOINER = "\u2060"


def render_ass(transcription: Transcription, line_length: int = 0) -> str:
    """The transcript as ASS; the header alone when nothing was said. line_length 0: one line each."""
    return _HEAD + "".join(_event(cue, line_length) for cue in iter_cues(transcription))


def _event(cue: Cue, line_length: int) -> str:
    text = r"\N".join(_escaped(line) for line in break_lines(cue.spoken, line_length))
    return f"Dialogue: 0,{_clock(cue.start_ms)},{_clock(cue.end_ms)},Default,{_name(cue.speaker)},0,0,0,,{text}\n"


def _name(speaker: str) -> str:
    """A field ends at its comma."""
    return speaker.replace(",", " ")


def _escaped(text: str) -> str:
    r"""Without what begins an override: a backslash or a brace. libass shows \{ as a brace."""
    return text.replace("\\", "\\" + _JOINER).replace("{", "\\{").replace("}", "\\}")


def _clock(milliseconds: int) -> str:
    """H:MM:SS and two decimals."""
    seconds, hundredths = divmod(round(milliseconds / 10), 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}.{hundredths:02}"
