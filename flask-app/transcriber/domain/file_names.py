"""Names that people gave to files and jobs: made harmless to show, and the part in front of a media ending."""

from __future__ import annotations

import re
import unicodedata

_ENDINGS = frozenset(
    "3g2 3gp aac ac3 adts aif aifc aiff amr ape asf au avi awb caf dss dts eac3 f4v flac flv gsm m2ts m4a m4b m4v mka "
    "mkv mov mp2 mp3 mp4 mpa mpeg mpg mpga mts mxf oga ogg ogv opus qt ra rm snd spx ts tta vob w64 wav wave weba webm "
    "wma wmv wv".split()
)

#: Joiners that Persian, Indic scripts and emoji are written with.
_JOINERS = "\u200c\u200d"
#: Format characters that are seen: signs that Arabic, Syriac and Kaithi put around numbers and words.
_VISIBLE_FORMATS = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
#: Flags of regions (Scotland's) are a black flag and a word in tag characters; elsewhere those only hide text.
_REGION_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{2,8}\U000e007f")


def visible(text: str) -> str:
    """The text without characters that control the screen, hide, or turn the direction of writing."""
    kept, start = [], 0
    for flag in _REGION_FLAG.finditer(text):
        kept += [_kept(text[start : flag.start()]), flag[0]]
        start = flag.end()
    return "".join([*kept, _kept(text[start:])]).strip(_JOINERS)


def without_ending(file_name: str) -> str:
    """`speech.mp3` gives `speech`; what only looks like an ending, as in `Vol. 1`, stays."""
    stem, _, ending = file_name.rpartition(".")
    return stem if stem and ending.lower() in _ENDINGS else file_name


def is_media_name(file_name: str) -> bool:
    """Whether the name ends as those of audio and video files do."""
    stem, _, ending = file_name.rpartition(".")
    return bool(stem) and ending.lower() in _ENDINGS


def _kept(text: str) -> str:
    return "".join(c for c in text if _is_kept(c))


def _is_kept(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":
        # Letters and emoji newer than Python's table are here, too; what Unicode will never assign is not.
        code = ord(character)
        return not (code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xE0000 <= code <= 0xE0FFF)
    if category == "Cf":
        return character in _JOINERS or character in _VISIBLE_FORMATS
    return category[0] != "C"
