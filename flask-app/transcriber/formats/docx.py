"""A Word document (.docx): a paragraph a segment, with its time in front.

Written with nothing but zipfile: a document without pictures and styles of its own is three small parts, and a
library that builds it element by element takes seconds for the 10,000 segments of a long recording.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from xml.sax.saxutils import escape

from ..domain.transcript import Transcription
from .cues import Cue, clock_time, iter_cues, tells_voices

_WORDS = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

_CONTENT_TYPES = (
    f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_TYPE}.document.main+xml"/></Types>'
)
_RELATIONSHIPS = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>'
)

#: The same bytes for the same transcript.
_WRITTEN = (1980, 1, 1, 0, 0, 0)

_GREY = '<w:color w:val="6B7280"/><w:sz w:val="18"/>'

#: Languages that are written from right to left.
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "sd", "ur", "yi"})


def render_docx(transcription: Transcription) -> bytes:
    """The document."""
    body = "".join(_turns(transcription)) or "<w:p/>"
    document = (
        f'{_XML}<w:document xmlns:w="{_WORDS}"><w:body>{body}'
        '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/>'
        '<w:pgMar w:top="1440" w:right="1440" w:bottom="1440" w:left="1440" w:header="708" w:footer="708" '
        'w:gutter="0"/></w:sectPr></w:body></w:document>'
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as package:
        for name, part in (
            ("[Content_Types].xml", _CONTENT_TYPES),
            ("_rels/.rels", _RELATIONSHIPS),
            ("word/document.xml", document),
        ):
            entry = zipfile.ZipInfo(name, date_time=_WRITTEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, part)
    return written.getvalue()


def _turns(transcription: Transcription) -> Iterator[str]:
    """A paragraph for each segment; with speakers, for all that one says in a row in one language."""
    cues = list(iter_cues(transcription))
    written = "en" if transcription.task == "translate" else transcription.language
    if not tells_voices(transcription):
        yield from (_paragraph(cue, written) for cue in cues)
        return
    for _, spoken in groupby(cues, key=lambda cue: (cue.speaker, cue.language)):
        first, *others = spoken
        yield _paragraph(replace(first, text=" ".join(cue.text for cue in (first, *others))), written)


def _paragraph(cue: Cue, written: str) -> str:
    """written: the language of the file, where the cue has none of its own."""
    rtl = (cue.language or written) in _RIGHT_TO_LEFT
    direction = "<w:bidi/>" if rtl else ""
    language = f'<w:lang {"w:bidi" if rtl else "w:val"}="{_text(cue.language)}"/>' if cue.language else ""
    properties = f"{'<w:rtl/>' if rtl else ''}{language}"
    run = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    return (
        f'<w:p><w:pPr>{direction}<w:spacing w:after="120"/></w:pPr>'
        f"<w:r><w:rPr>{_GREY}</w:rPr><w:t>{clock_time(cue.start_ms, '.')[:8]}</w:t></w:r>"
        f"{_speaker(cue)}"
        f"{_language(cue)}"
        f'<w:r>{run}<w:tab/><w:t xml:space="preserve">{_text(cue.text)}</w:t></w:r></w:p>'
    )


def _speaker(cue: Cue) -> str:
    if not cue.speaker:
        return ""
    return f"<w:r><w:rPr><w:b/></w:rPr><w:tab/><w:t>{_text(cue.speaker)}</w:t></w:r>"


def _language(cue: Cue) -> str:
    if not cue.is_language_new:
        return ""
    return f"<w:r><w:rPr>{_GREY}</w:rPr><w:tab/><w:t>[{_text(cue.language)}]</w:t></w:r>"


def _text(text: str) -> str:
    """Escaped, and without the two characters that no XML may hold and a cue may."""
    return escape(text.replace("\ufffe", "").replace("\uffff", ""))
