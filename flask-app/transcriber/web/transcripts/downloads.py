"""A finished transcription as an HTTP answer: any format, always with the facts in its headers."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response

from ...domain.edits import Transcript
from ...domain.transcript import Notice, Transcription
from ...formats.table import DOWNLOADS, FORMATS, Document, Format
from ..computing import computed


def rendered(transcription: Transcription, response_format: str) -> Response:
    """The transcription in one of the formats of the table."""
    row = FORMATS[response_format]
    response = Response(
        computed(lambda: row.render(transcription), of=transcription), content_type=row.content_type
    )
    return set_facts(response, transcription)


def downloaded(transcription: Transcription, ending: str, line_length: int) -> Response:
    """The transcription as a file. line_length: most characters in a line, for formats with lines; 0: lines stay as they are."""
    row = DOWNLOADS[ending]
    content = computed(lambda: written(row, transcription, line_length), of=transcription)
    return set_facts(Response(content, content_type=row.content_type), transcription)


def written(row: Format | Document, transcription: Transcription, line_length: int) -> str | bytes:
    """The transcription in this format; its lines are broken where the format has lines."""
    if isinstance(row, Format) and row.render_lines is not None:
        return row.render_lines(transcription, line_length)
    return row.render(transcription)


def set_facts(response: Response, transcription: Transcription) -> Response:
    """Headers that say in every format where the work ran, and its warnings."""
    headers = response.headers
    headers["X-Job-Id"] = transcription.job_id
    headers["X-Gpu-Used"] = "true" if transcription.gpu_used else "false"
    headers["X-Device"] = transcription.device
    headers["X-Compute-Type"] = transcription.compute_type
    if transcription.fallback_reason is not None:
        headers["X-Fallback-Code"] = transcription.fallback_reason.code
    if transcription.warnings:
        headers["X-Warnings"] = warnings_header(transcription.warnings)
    return response


def _quoted(text: str) -> str:
    """A string of structured fields: printable ASCII with its quotes escaped. A caller's own name may hold anything."""
    shown = "".join(each if " " <= each <= "~" else "?" for each in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def warnings_header(notices: Iterable[Notice]) -> str:
    """The codes, each with the field that it is about, as a list of structured fields (RFC 9651)."""
    items = (
        notice.code if notice.param is None else f"{notice.code};param={_quoted(notice.param)}"
        for notice in notices
    )
    return ", ".join(dict.fromkeys(items))


def set_revision(response: Response, transcript: Transcript) -> Response:
    """Which revision of the transcript this is, for If-Match."""
    response.set_etag(f"r{transcript.edit.revision}")
    return response
