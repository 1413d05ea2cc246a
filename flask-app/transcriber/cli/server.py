"""The backend that is a running server. Its jobs outlive connections and restarts, so waiting for them does too."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from ..domain.errors import JobFinishedError, JobNotFoundError
from ..domain.feed import FeedEvent
from .backend import Told
from .http import Http, json_of, raise_for
from .request import TranscribeRequest
from .retries import InterruptedExchangeError, Retries, unreachable
from .sent_file import SentFile, file_error
from .sse import iter_events

#: A server that was there and went away is waited for this long, in seconds: a restart that loads a large model fits.
PATIENCE_SECONDS = 300.0


class ServerBackend:
    """Jobs on a server."""

    def __init__(self, http: Http, *, patience: float = PATIENCE_SECONDS) -> None:
        self._http = http
        self._retries = Retries(patience, time.monotonic, time.sleep)

    def check(self) -> None:
        """Raises TranscriberError unless a server answers there: a mistyped address is no reason to wait."""
        try:
            reply = self._http.exchange("GET", "/health/live")
        except InterruptedExchangeError as error:
            raise unreachable(str(error)) from error
        if reply.status_code != 200:
            raise unreachable(f"{self._http.url} answers {reply.status_code}.")

    def submit(self, file: Path, order: TranscribeRequest, told: Told) -> str:
        """POST /jobs, with a key of its own: a try that was cut off makes no second job."""
        key = secrets.token_hex(16)
        try:
            size = file.stat().st_size
        except OSError as error:
            raise file_error(file, error) from error
        name = file.name.encode(errors="replace").decode()
        while True:
            try:
                reply = self._asked(
                    "POST",
                    "/jobs",
                    headers={"Idempotency-Key": key},
                    fields=order.to_fields(),
                    file=(name, SentFile(file, size, told)),
                )
                return str(json_of(reply)["job_id"])
            except InterruptedExchangeError as error:
                self._retries.wait(error)
            except KeyError:
                raise unreachable("The server's answer names no job.") from None

    def follow(self, job_id: str) -> Iterator[FeedEvent]:
        """The stream, taken up where it broke off."""
        after = 0
        while True:
            try:
                for event in self._streamed(job_id, after):
                    self._retries.worked()
                    if event is None:
                        continue
                    after = max(after, event.number or 0)
                    yield event
                    if event.is_last:
                        return
                raise InterruptedExchangeError(f"{self._http.url} ended the stream.")
            except InterruptedExchangeError as error:
                self._retries.wait(error)

    def answer(self, job_id: str) -> Mapping[str, Any]:
        answer = json_of(self._fetched(f"/jobs/{job_id}/transcript.json"))
        if not isinstance(answer, dict):
            raise unreachable("The server's answer is no transcription.")
        return answer

    def transcript(self, job_id: str, ending: str) -> str:
        return self._fetched(f"/jobs/{job_id}/transcript.{ending}").content.decode()

    def cancel(self, job_id: str) -> None:
        try:
            raise_for(self._http.exchange("DELETE", f"/jobs/{job_id}"))
        except (JobFinishedError, JobNotFoundError):
            return
        except InterruptedExchangeError as error:
            raise unreachable(str(error)) from error

    def close(self) -> None:
        self._http.close()

    def _fetched(self, path: str) -> httpx2.Response:
        while True:
            try:
                return self._asked("GET", path)
            except InterruptedExchangeError as error:
                self._retries.wait(error)

    def _asked(self, method: str, path: str, **more: Any) -> httpx2.Response:
        reply = self._http.exchange(method, path, **more)
        raise_for(reply)
        self._retries.worked()
        return reply

    def _streamed(self, job_id: str, after: int) -> Iterator[FeedEvent | None]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._http.streamed(f"/jobs/{job_id}/stream", headers) as (reply, lines):
            raise_for(reply)
            if reply.status_code == 204:
                raise unreachable("The server says that the job has ended, and not how.")
            try:
                yield from iter_events(lines)
            except ValueError as error:
                raise unreachable(f"The server's stream can't be read: {error}") from error
