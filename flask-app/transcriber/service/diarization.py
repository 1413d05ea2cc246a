"""The speakers of one job: found in its audio, given to its words. What goes wrong is a warning, not the job's end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ..domain.errors import DiarizationError, InvalidParameterError, MediaError
from ..domain.jobs import Job
from ..domain.options import MIX, TranscriptionOptions
from ..domain.ports import DecodedAudio, Diarizer, MediaDecoder
from ..domain.speakers import Diarization, attribute
from ..domain.transcript import DiarizationReceipt, Notice, Segment, Speaker, SpeakerTurn

logger = structlog.get_logger(__name__)

#: OpenAI's name of the field, and the lengths that it allows, in seconds; encoders add a few hundredths.
REFERENCES = "known_speaker_references[]"
_SHORTEST_REFERENCE, _LONGEST_REFERENCE = 2.0, 10.0
_PADDING_SECONDS = 0.2


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


def decode_references(
    decoder: MediaDecoder, job: Job, files: Sequence[Path], folder: Path, cancelled: Callable[[], bool]
) -> tuple[DecodedAudio, ...]:
    """The recordings of known speakers. Raises InvalidParameterError for one that can't be used."""
    decoded = []
    for number, file in enumerate(files):
        try:
            audio = decoder.decode(
                file, folder / f"voice-{number}.pcm", job_id=job.id, cancelled=cancelled, selection=MIX
            )
        except MediaError as error:
            raise _bad_reference(number, error.message) from error
        least, most = _SHORTEST_REFERENCE - _PADDING_SECONDS, _LONGEST_REFERENCE + _PADDING_SECONDS
        if not least <= audio.duration <= most:
            raise _bad_reference(number, f"{audio.duration:.1f} s of audio")
        decoded.append(audio)
    return tuple(decoded)


def find_speakers(
    diarizer: Diarizer | None,
    job: Job,
    audio: DecodedAudio,
    segments: tuple[Segment, ...],
    cancelled: Callable[[], bool],
    references: Sequence[DecodedAudio] = (),
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
            references=references,
            cancelled=cancelled,
        )
    except DiarizationError as error:
        logger.warning("diarization_failed", job_id=job.id, code=error.code, error=error.message)
        notice = Notice(code=error.code, message=error.message, param="diarize")
        return SpeakerFindings(segments=segments, notices=(notice,))
    attribution = attribute(segments, found.turns, _names(options, found))
    return SpeakerFindings(
        segments=attribution.segments,
        speakers=attribution.speakers,
        turns=attribution.turns,
        receipt=DiarizationReceipt(
            device=found.device, provider=found.provider, pid=found.pid, seconds=found.seconds
        ),
        notices=tuple(_notices(options, found)),
    )


def _names(options: TranscriptionOptions, found: Diarization) -> dict[int, str]:
    """The names of the speakers who are of a reference's voice."""
    known = options.known_speakers
    numbered = enumerate(found.references)
    return {speaker: known[one] for speaker, one in numbered if one is not None and one < len(known)}


def _notices(options: TranscriptionOptions, found: Diarization) -> Iterator[Notice]:
    """Say what was asked for and not found."""
    count = len(found.voices)
    least, most = options.min_speakers or 0, options.max_speakers or count
    if not count:
        yield Notice(code="no_speakers_found", message="No voice was found in the audio.", param="diarize")
    elif not least <= count <= most:
        message = f"{count} speakers were found, where {least or 1} to {most} were expected."
        yield Notice(code="speaker_count_differs", message=message, param="max_speakers")
    for number in found.silent_references:
        message = f"Nobody speaks in the recording of {options.known_speakers[number]!r}."
        yield Notice(code="speaker_reference_silent", message=message, param=REFERENCES)


def _bad_reference(number: int, what: str) -> InvalidParameterError:
    return InvalidParameterError(
        REFERENCES,
        f"number {number + 1}: {what}",
        f"recordings of one person, of {_SHORTEST_REFERENCE:g} to {_LONGEST_REFERENCE:g} seconds each",
    )
