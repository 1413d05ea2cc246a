"""Errors that people meet on the pages, in the language of the page, by their code; all others stay English.

The English of an error may say more than its code does (names, numbers): it is shown as it is. In other languages the
sentence of the code stands for it, and the code beside it is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from .language import current_language, translated


def _(text: str) -> str:
    """Marks a text for scripts/translations; it is translated when a page asks for it."""
    return text


@dataclass(frozen=True, slots=True)
class Said:
    """An error as the page says it. `language`: of these words."""

    message: str
    fix: str
    language: str


class Coded(Protocol):
    """An error, also one that was kept with its job."""

    @property
    def code(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def fix(self) -> str: ...


#: Message and fix by code, for those who sit before the page: what only a program can do is left out.
ERROR_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "unauthorized": (_("You are not signed in."), _("Sign in, then try again.")),
        "csrf_token_invalid": (_("This page is too old to be used."), _("Load the page again.")),
        "not_found": (_("There is nothing at this address."), ""),
        "job_not_found": (_("There is no such job."), _("It may have been deleted.")),
        "job_not_finished": (_("The job has no transcript yet."), _("Wait until it has ended.")),
        "job_finished": (_("The job has ended already."), ""),
        "job_not_failed": (_("Only a job that failed can be retried."), ""),
        "upload_not_found": (_("The upload is not kept any more."), _("Send the file again.")),
        "upload_gone": (_("The job's upload is not kept any more."), _("Send the file again.")),
        "upload_incomplete": (_("The upload has not arrived as a whole."), _("Send the file again.")),
        "transcript_changed": (
            _("The transcript was changed since it was read."),
            _("Load the page again and make the change on what is there now."),
        ),
        "invalid_parameter": (_("A value is not allowed."), _("Correct the value, or leave it out.")),
        "model_not_found": (_("The model is not on this machine."), _("Choose another model.")),
        "missing_audio": (_("No file was sent."), _("Choose a file first.")),
        "empty_upload": (_("The uploaded file has no bytes."), _("Check that the file is not empty.")),
        "undecodable_media": (
            _("No audio can be read from the upload."),
            _("Send an audio or video file (wav, mp3, m4a, flac, ogg, webm, mp4, mkv and others), whole."),
        ),
        "no_audio_stream": (
            _("The upload is a media file without an audio stream."),
            _("Send a file that has a sound track."),
        ),
        "audio_track_not_found": (
            _("The file has no audio track with this number."),
            _("Choose another track, or leave it to the service."),
        ),
        "decode_timeout": (
            _("Decoding the upload took longer than is allowed."),
            _("Send the audio in another format (wav or flac)."),
        ),
        "decoder_crashed": (
            _("The sandboxed decoder died while it read the upload."),
            _("The file is probably damaged. Convert it to wav or flac and send that."),
        ),
        "limit_exceeded": (_("The request is larger than this installation takes."), ""),
        "upload_too_large": (
            _("The upload has more bytes than are allowed."),
            _("Send a smaller or compressed file."),
        ),
        "audio_too_long": (_("The audio is longer than is allowed."), _("Split the file.")),
        "queue_full": (_("Too many jobs are waiting."), _("Send it again later.")),
        "too_many_uploads": (_("Too many uploads are unfinished."), _("Send it again later.")),
        "too_many_tries": (_("Too many wrong keys came from this address."), _("Wait a minute.")),
        "storage_full": (
            _("The server's disk is full."),
            _("The operator has to free space on the disk."),
        ),
        "audio_does_not_fit": (
            _("The decoded audio does not fit on the server's disk."),
            _("The operator has to free space on the disk."),
        ),
        "search_timeout": (
            _("The search took too long."),
            _("Search for longer words, or fewer of them."),
        ),
        "storage_failed": (
            _("The data folder can't be read or written."),
            _("The operator has to look at the disk; the service's log names the cause."),
        ),
        "shutting_down": (_("The service is stopping."), _("Send it again in a moment.")),
        "interrupted": (_("The service stopped before this job was done."), _("Send the file again.")),
        "gpu_required": (_("The GPU was required, and it can't serve."), _("The diagnostics tell why.")),
        "job_timeout": (
            _("The job took longer than is allowed."),
            _("Split the file, or take a smaller model."),
        ),
        "engine_start_failed": (_("The engine child did not become ready."), _("The diagnostics tell why.")),
        "engine_crashed": (
            _("The engine child died while it worked on this job."),
            _("Try again; if it happens with this file only, the file is the cause."),
        ),
        "internal_error": (
            _("Something failed that the service did not foresee."),
            _("The operator finds the cause in the service's log."),
        ),
    }
)


def said(error: Coded) -> Said:
    """The error's own words on English pages, and where its code has none in the page's language."""
    language = current_language()
    words = ERROR_WORDS.get(error.code)
    if language == "en" or words is None:
        return Said(error.message, error.fix, "en")
    message, fix = words
    return Said(translated(message), translated(fix), language)


def errors_of_page() -> dict[str, tuple[str, str]]:
    """Message and fix by code, for the scripts of a page that is not English."""
    if current_language() == "en":
        return {}
    return {code: (translated(message), translated(fix)) for code, (message, fix) in ERROR_WORDS.items()}
