"""The speakers of one job: found in its audio, given to its words. What goes wrong is a warning, not the job's end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ..domain.errors import DiarizationError
from ..domain.jobs import Job
from ..domain.options import TranscriptionOptions
from ..domain.ports import DecodedAudio, Diarizer
from ..domain.speakers import Diarization, attribute
from ..domain.transcript import DiarizationReceipt, Notice, Segment, Speaker, SpeakerTurn

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeakerFindings:
    """A job's segments with their speakers, where the work ran, and what there is to say about it."""

    segments: tuple[Segment, ...]
    speakers: tuple[Speaker, ...] = ()
    turns: tuple[SpeakerTurn, ...] = ()
    receipt: DiarizationReceipt | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def seconds(self) -> float:
        """What it took."""
        return self.receipt.seconds if self.receipt else 0.0


def find_speakers(
    diarizer: Diarizer | None,
    job: Job,
    audio: DecodedAudio,
    segments: tuple[Segment, ...],
    cancelled: Callable[[], bool],
) -> SpeakerFindings:
    """The segments as they are, unless the job asks for speakers. Raises JobCancelledError, ShuttingDownError."""
    options = job.request.options
    if not options.diarize or not segments:
        return SpeakerFindings(segments=segments)
    if audio.pcm_channels > 1:
        message = "Channels that are transcribed apart are not searched for speakers: each is one."
        notice = Notice(code="ignored_parameter", message=message, param="diarize")
        return SpeakerFindings(segments=segments, notices=(notice,))
    try:
        if diarizer is None:
            raise DiarizationError("This service has nothing that tells speakers apart.")
        found = diarizer.diarize(
            audio.path,
            audio.samples,
            minimum=options.min_speakers,
            maximum=options.max_speakers,
            cancelled=cancelled,
        )
    except DiarizationError as error:
        logger.warning("diarization_failed", job_id=job.id, code=error.code, error=error.message)
        notice = Notice(code=error.code, message=error.message, param="diarize")
        return SpeakerFindings(segments=segments, notices=(notice,))
    attribution = attribute(segments, found.turns)
    return SpeakerFindings(
        segments=attribution.segments,
        speakers=attribution.speakers,
        turns=attribution.turns,
        receipt=DiarizationReceipt(
            device=found.device, provider=found.provider, pid=found.pid, seconds=found.seconds
        ),
        notices=_notices(options, found),
    )


def _notices(options: TranscriptionOptions, found: Diarization) -> tuple[Notice, ...]:
    """A number of speakers that was asked for and not found is no secret."""
    count = len(found.voices)
    least, most = options.min_speakers or 0, options.max_speakers or count
    if least <= count <= most:
        return ()
    message = f"{count} speakers were found, where {least or 1} to {most} were expected."
    return (Notice(code="speaker_count_differs", message=message, param="max_speakers"),)
