"""File names that people sent: made harmless for showing and for downloads. Never used on disk."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from werkzeug.http import dump_options_header

#: Longest name that is kept and shown.
MAX_NAME = 120

_VIDEO_ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm")

_SEPARATORS = re.compile(r"[/\\]")
_UNSAFE_IN_DOWNLOADS = re.compile(r'[<>:"|?*%;]')


def shown_name(sent: str) -> str:
    """The last part of the path that was sent, without control or direction characters."""
    base = _SEPARATORS.split(sent)[-1]
    kept = "".join(c for c in base if unicodedata.category(c)[0] != "C")
    return " ".join(kept.split())[:MAX_NAME]


def download_name(file_name: str, job_id: str, extension: str) -> str:
    """`speech.mp3` and `srt` give `speech.srt`; a name with nothing left gives the job's id."""
    stem = _UNSAFE_IN_DOWNLOADS.sub("_", shown_name(file_name).rpartition(".")[0] or shown_name(file_name))
    return f"{stem.strip('. ')[:80] or job_id}.{extension}"


def is_video_name(file_name: str) -> bool:
    """Whether the name is one of a video: it only chooses between a player with a picture and one without."""
    return file_name.lower().endswith(_VIDEO_ENDINGS)


def attachment(name: str) -> str:
    """Content-Disposition for a download: plain ASCII for old clients, the whole name for the others."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    names = {"filename": ascii_name, "filename*": f"UTF-8''{quote(name, safe='')}"}
    return dump_options_header("attachment", names)
