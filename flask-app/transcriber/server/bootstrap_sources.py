"""The parts that bring sound in without an upload."""

from __future__ import annotations

from collections.abc import Callable

from .. import __version__
from ..config.loader import Settings
from ..domain.options import TranscriptionOptions, TranscriptionRequest
from ..domain.ports import Clock, EnginePool
from ..domain.transcript import Transcription
from ..formats.table import DOWNLOADS
from ..live.captions import LiveCaptions, LiveLimits
from ..live.listener import Listener
from ..live.recording import RecordingParts
from ..service.facade import Service, Storage
from ..service.transcription import Transcriber
from ..service.utterances import UtteranceTranscriber
from ..sources.http_fetcher import HttpFetcher
from ..sources.watched_folder import WatchedFolder, WatchSettings
from ..system.threads import NativeExecutor
from ..webhooks.guard import Guard


def fetcher(settings: Settings) -> HttpFetcher:
    """What fetches files by URL."""
    return HttpFetcher(
        Guard(settings.source_allow_cidr),
        version=__version__,
        max_bytes=settings.max_upload_bytes,
        timeout=settings.source_timeout_seconds,
    )


def live_captions(
    settings: Settings,
    service: Service,
    storage: Storage,
    transcriber: Transcriber,
    engines: EnginePool,
    clock: Clock,
) -> LiveCaptions:
    """Live sessions; none on a node of a fleet, whose files and engines are elsewhere."""
    return LiveCaptions(
        parts=RecordingParts(
            jobs=service,
            journal_path=storage.spool.journal_path,
            native=storage.native,
            observe=transcriber.observe,
            clock=clock,
        ),
        transcriber=UtteranceTranscriber(transcriber, engines),
        listener=Listener(),
        limits=LiveLimits(
            sessions=settings.live_sessions if settings.role == "all" else 0, minutes=settings.live_minutes
        ),
        clock=clock,
    )


def watched_folder(settings: Settings, service: Service, model: str, clock: Clock) -> WatchedFolder | None:
    """The folder whose files become jobs, with an executor of its own: a share that hangs delays nothing else."""
    if settings.watch_dir is None:
        return None
    executor = NativeExecutor(1)
    return WatchedFolder(
        WatchSettings(
            folder=settings.watch_dir,
            output=settings.watch_output_dir,
            formats={ending: renderer_of(ending) for ending in settings.watch_formats},
            markers=settings.data_dir / "watched",
            poll_seconds=settings.watch_poll_seconds,
            settle_seconds=settings.watch_settle_seconds,
        ),
        service,
        lambda: TranscriptionRequest(
            model=model,
            use_gpu=settings.default_use_gpu,
            require_gpu=False,
            options=TranscriptionOptions(vad_filter=settings.vad_filter),
        ),
        clock,
        lambda work: executor.submit(work).result(),
    )


def renderer_of(ending: str) -> Callable[[Transcription], bytes]:
    """Makes the file of a transcript with this ending."""
    row = DOWNLOADS[ending]

    def render(transcription: Transcription) -> bytes:
        made = row.render(transcription)
        return made if isinstance(made, bytes) else made.encode()

    return render
