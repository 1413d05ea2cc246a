"""File names that people sent: made harmless for showing and for downloads. Never used on disk."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote, urlsplit

from werkzeug.http import dump_options_header

from ..domain.file_names import visible, without_ending
from ..domain.jobs import Job

#: Longest name that is kept and shown.
MAX_NAME = 120

_VIDEO_ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm")

_SEPARATORS = re.compile(r"[/\\]")
_UNSAFE_IN_DOWNLOADS = re.compile(r'[<>:"|?*%;/\\]')


def shown_name(sent: str) -> str:
    """The last part of the path that was sent, without control or direction characters."""
    return shown_title(_SEPARATORS.split(sent)[-1])


def name_of_url(url: str) -> str:
    """What to call the file behind a URL: the last part of its path, or its host. Of what is no URL, nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.path.rstrip("/").rpartition("/")[2]) or (parts.hostname or "")


def shown_title(sent: str) -> str:
    """A title as it was sent, slashes and all, without control or direction characters."""
    return visible(" ".join(visible(sent).split())[:MAX_NAME])


def download_name(name: str, job_id: str, extension: str) -> str:
    """`speech` and `srt` give `speech.srt`; a name with nothing left gives the job's id."""
    stem = _UNSAFE_IN_DOWNLOADS.sub("_", shown_title(name))
    return f"{visible(stem.strip('. ')[:80]) or job_id}.{extension}"


def download_name_of_file(file_name: str, job_id: str, extension: str) -> str:
    """`speech.mp3` and `srt` give `speech.srt`."""
    return download_name(without_ending(shown_name(file_name)), job_id, extension)


def name_of_download(job: Job, extension: str) -> str:
    """The name of a job's transcript as a file."""
    # A title has no ending that could be taken off.
    if job.title:
        return download_name(job.title, job.id, extension)
    return download_name_of_file(job.file_name, job.id, extension)


def is_video_name(file_name: str) -> bool:
    """Whether the name is one of a video: it only chooses between a player with a picture and one without."""
    return file_name.lower().endswith(_VIDEO_ENDINGS)


def attachment(name: str, job_id: str) -> str:
    """Content-Disposition for a download: plain ASCII for old clients, the whole name for the others.

    A name with nothing in ASCII but its ending (会議録.srt) has the job's id there, so that no two are the same.
    """
    ascii_name = " ".join(unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().split())
    stem, dot, ending = ascii_name.rpartition(".")
    if not any(map(str.isalnum, stem if dot else ascii_name)):
        ascii_name = f"{job_id}{dot}{ending if dot else ''}"
    names = {"filename": ascii_name, "filename*": f"UTF-8''{quote(name, safe='')}"}
    return dump_options_header("attachment", names)
