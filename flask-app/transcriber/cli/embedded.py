"""The backend inside this process: the whole service without HTTP, with the installation's models and settings.

Its jobs live in a temporary folder and end with it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..domain.answer import transcription_to_json
from ..domain.errors import GpuRequiredError, JobFinishedError, ShuttingDownError, TranscriberError
from ..domain.feed import FeedEvent
from ..domain.jobs import SubmissionTerms
from ..domain.languages import normalise_language, normalise_languages
from ..domain.options import TranscriptionOptions, TranscriptionRequest
from ..formats.table import FORMATS
from ..server import bootstrap
from ..server.lifecycle import Application
from ..system.durable_files import storage_errors
from .backend import Told
from .request import TranscribeRequest
from .sent_file import file_error, iter_file


class EmbeddedBackend:
    """Jobs in this process. Under the policy `required`, every one of them requires the GPU."""

    def __init__(self, application: Application, folder: Path, *, requires_gpu: bool) -> None:
        self._application = application
        self._service = application.service
        self._folder = folder
        self._requires_gpu = requires_gpu

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> EmbeddedBackend:
        """Build and start the service. Raises ConfigError."""
        folder = Path(tempfile.mkdtemp(prefix="transcriber-"))
        try:
            embedded = bootstrap.build_embedded(environ, folder)
            embedded.application.start()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(embedded.application, folder, requires_gpu=embedded.requires_gpu)

    def submit(self, file: Path, order: TranscribeRequest, told: Told) -> str:
        request = self._request(order)
        upload = self._service.begin_upload()
        try:
            _put(file, upload.path, told)
            job = self._service.submit(
                upload,
                request,
                file_name=file.name,
                request_id=f"cli_{secrets.token_hex(8)}",
                terms=SubmissionTerms(priority=order.priority),
            )
        except TranscriberError:
            self._service.abandon_upload(upload)
            raise
        return job.id

    def follow(self, job_id: str) -> Iterator[FeedEvent]:
        for event in self._service.follow(job_id):
            if event is not None:
                yield event
                if event.is_last:
                    return
        raise ShuttingDownError()

    def answer(self, job_id: str) -> Mapping[str, Any]:
        answer: dict[str, Any] = json.loads(transcription_to_json(self._service.transcription(job_id)))
        return answer

    def transcript(self, job_id: str, ending: str) -> str:
        row = FORMATS["text" if ending == "txt" else ending]
        return row.render(self._service.transcription(job_id))

    def cancel(self, job_id: str) -> None:
        try:
            self._service.cancel(job_id)
        except JobFinishedError:
            return

    def close(self) -> None:
        self._application.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _request(self, order: TranscribeRequest) -> TranscriptionRequest:
        """As the web makes one of a form: the same defaults."""
        if self._requires_gpu and order.use_gpu is False:
            raise GpuRequiredError(
                "This installation answers from the GPU only, and --no-use-gpu was given.",
                fix="Leave --no-use-gpu out, or set WHISPER_GPU_POLICY=preferred.",
            )
        settings = self._application.settings
        requires = order.require_gpu or self._requires_gpu
        wants = settings.default_use_gpu if order.use_gpu is None else order.use_gpu
        return TranscriptionRequest(
            model=order.model or self._application.default_model,
            use_gpu=requires or wants,
            require_gpu=requires,
            options=TranscriptionOptions(
                language=normalise_language(order.language),
                languages=normalise_languages((order.languages or "").split(",")),
                multilingual=order.multilingual,
                task=order.task or "transcribe",
                vad_filter=settings.vad_filter,
                word_timestamps=order.word_timestamps,
                channels=order.channels,
                audio_track=order.audio_track,
                diarize=order.diarize,
                min_speakers=order.num_speakers or order.min_speakers,
                max_speakers=order.num_speakers or order.max_speakers,
            ),
        )


def _put(file: Path, place: Path, told: Told) -> None:
    """The file into the spool: as a second name where the disk allows it, else as a copy."""
    try:
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
    except OSError as error:
        raise file_error(file, error) from error
    try:
        os.link(file.resolve(), place)
    except OSError:
        _copy(file, place, size, told)
    told(size, size)


def _copy(file: Path, place: Path, size: int, told: Told) -> None:
    done = 0
    with storage_errors(), place.open("wb") as target:
        for piece in iter_file(file, size):
            target.write(piece)
            done += len(piece)
            told(done, size)
