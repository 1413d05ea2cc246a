"""The one table of formats: what a response_format is called, sent as and saved as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from ..domain.answer import transcription_to_json
from ..domain.transcript import Transcription
from .srt import render_srt
from .text import render_text
from .tsv import render_tsv
from .verbose_json import render_verbose_json
from .vtt import render_vtt


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One way to write a transcription down. extension has no dot."""

    content_type: str
    extension: str
    render: Callable[[Transcription], str]


#: response_format to its row.
FORMATS = MappingProxyType(
    {
        "json": Format(content_type="application/json", extension="json", render=transcription_to_json),
        "verbose_json": Format(content_type="application/json", extension="json", render=render_verbose_json),
        "text": Format(content_type="text/plain; charset=utf-8", extension="txt", render=render_text),
        "srt": Format(content_type="application/x-subrip; charset=utf-8", extension="srt", render=render_srt),
        "vtt": Format(content_type="text/vtt; charset=utf-8", extension="vtt", render=render_vtt),
        "tsv": Format(
            content_type="text/tab-separated-values; charset=utf-8", extension="tsv", render=render_tsv
        ),
    }
)
