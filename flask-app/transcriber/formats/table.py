"""The one table of formats: what a response_format is called, sent as and saved as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..domain.answer import transcription_to_json
from ..domain.transcript import Transcription
from .ass import render_ass
from .docx import render_docx
from .srt import render_srt
from .text import render_text
from .tsv import render_tsv
from .verbose_json import render_verbose_json
from .vtt import render_vtt


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """An output format. extension has no dot."""

    content_type: str
    extension: str
    render: Callable[[Transcription], str]
    #: The same with a greatest line length in characters, where the format has lines.
    render_lines: Callable[[Transcription, int], str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One way to write a transcription into a file that is no text."""

    content_type: str
    extension: str
    render: Callable[[Transcription], bytes]


#: response_format to its row.
FORMATS = MappingProxyType(
    {
        "json": Format(content_type="application/json", extension="json", render=transcription_to_json),
        "verbose_json": Format(content_type="application/json", extension="json", render=render_verbose_json),
        "text": Format(content_type="text/plain; charset=utf-8", extension="txt", render=render_text),
        "srt": Format(
            content_type="application/x-subrip; charset=utf-8",
            extension="srt",
            render=render_srt,
            render_lines=render_srt,
        ),
        "vtt": Format(
            content_type="text/vtt; charset=utf-8",
            extension="vtt",
            render=render_vtt,
            render_lines=render_vtt,
        ),
        "tsv": Format(
            content_type="text/tab-separated-values; charset=utf-8", extension="tsv", render=render_tsv
        ),
    }
)

#: Formats of downloads alone, by the ending of the file.
ASS = Format(
    content_type="text/x-ssa; charset=utf-8", extension="ass", render=render_ass, render_lines=render_ass
)
DOCX = Document(
    content_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    extension="docx",
    render=render_docx,
)

#: Ending of a download to its row.
DOWNLOADS: Mapping[str, Format | Document] = MappingProxyType(
    {
        "txt": FORMATS["text"],
        "srt": FORMATS["srt"],
        "vtt": FORMATS["vtt"],
        "ass": ASS,
        "tsv": FORMATS["tsv"],
        "json": FORMATS["json"],
        "verbose_json": FORMATS["verbose_json"],
        "docx": DOCX,
    }
)
