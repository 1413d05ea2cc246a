"""The port to whatever does the work: a server over HTTP, or the service inside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..domain.feed import FeedEvent
from .request import TranscribeRequest

#: Called with the bytes of a file that have arrived, and its size.
Told = Callable[[int, int], None]

#: The formats of a transcript, by the ending of a download's address.
ENDINGS = ("txt", "srt", "vtt", "tsv", "json", "verbose_json")


class Backend(Protocol):
    """Jobs as the command line needs them. Every method may raise TranscriberError."""

    def submit(self, file: Path, order: TranscribeRequest, told: Told) -> str:
        """Send the file; the id of its job."""
        ...

    def follow(self, job_id: str) -> Iterator[FeedEvent]:
        """The job's events up to its last one, whatever happens to the connection."""
        ...

    def answer(self, job_id: str) -> Mapping[str, Any]:
        """The whole answer of a job that succeeded."""
        ...

    def transcript(self, job_id: str, ending: str) -> str:
        """Its transcript in one of the formats (see ENDINGS)."""
        ...

    def cancel(self, job_id: str) -> None:
        """Give the job up; fine when it has ended."""
        ...

    def close(self) -> None:
        """Give back what is held. Jobs that run inside this process end."""
        ...
