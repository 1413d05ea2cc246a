"""What the page of a transcript shows of each segment: its words, its doubts, and the places of words in its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from flask import request
from pydantic import BaseModel, Field

from ...domain.jobs import Job
from ...domain.suspicions import Suspicion, find_suspicions, is_unsure
from ...domain.transcript import Segment, Speaker, Transcription, Word
from ...formats.lines import SubtitleFault, find_faults
from ...formats.table import DOWNLOADS
from ..computing import computed
from ..cooperative_yield import let_others_run
from ..device_state import WITHOUT_HARDWARE, gpu_is_expected
from ..extensions import application
from ..file_names import is_video_name

#: Segments on one page: those of 14 hours of speech. A transcript of more has several, and is corrected through the API.
SEGMENTS_ON_A_PAGE = 15_000

#: Segments in one list of the page. The browser lays a list out only when it comes into view.
ROWS_IN_A_LIST = 50

#: Seconds of silence, and characters up to the end of a sentence, after which a paragraph begins.
PARAGRAPH_PAUSE = 2.0
PARAGRAPH_LENGTH = 500

#: Colours of speakers in static/result.css; further speakers begin anew.
COLOURS = 8

#: Characters between two words of a segment at most.
FURTHEST = 200


class PageQuery(BaseModel):
    """What the page of a job takes."""

    page: int = Field(1, ge=1, description="the page of a transcript of more than 15,000 segments; HTML only")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a segment's text; probability: of an unsure word, 0 to 1."""

    text: str
    probability: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """A speaker as the page shows one. share and offset: percent of all talk time, and of it before this speaker."""

    id: str
    name: str
    colour: int
    share: float
    offset: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentRow:
    """One segment as the page shows it."""

    segment: Segment
    stretches: tuple[Stretch, ...]
    #: Place in the text, begin and end in hundredths of a second from the segment's start, for each word.
    words: str
    suspicions: tuple[Suspicion, ...]
    faults: tuple[SubtitleFault, ...]
    changes_speaker: bool
    #: Another channel or language than the segment before.
    changes_origin: bool
    opens_paragraph: bool


def transcript_facts(job: Job) -> dict[str, Any]:
    """What the templates of a finished transcript are filled with: the text as people left it."""
    service = application().service
    transcript = service.transcripts.get(job.id)
    segments = transcript.transcription.segments
    pages = max(1, -(-len(segments) // SEGMENTS_ON_A_PAGE))
    page = page_in(request.args.get("page", ""), pages)
    voices = voices_of(transcript.transcription.speakers)
    return {
        "transcription": transcript.transcription,
        "transcript": transcript,
        "lists": page_rows(
            transcript.transcription, segments[(page - 1) * SEGMENTS_ON_A_PAGE : page * SEGMENTS_ON_A_PAGE]
        ),
        "page": page,
        "pages": pages,
        "has_media": service.find_media(job.id) is not None,
        "is_video": is_video_name(job.file_name),
        "downloads": [ending for ending in DOWNLOADS if ending != "verbose_json"],
        "voices": voices,
        "voice_of": {voice.id: voice for voice in voices},
        "expects_gpu": expects_gpu(job, transcript.transcription),
    }


def expects_gpu(job: Job, transcription: Transcription) -> bool:
    """Whether the caller, the settings or the hardware let one expect that this ran on a GPU."""
    settings = application().settings
    reason = transcription.fallback_reason
    has_hardware = reason is not None and reason.code not in WITHOUT_HARDWARE
    return job.request.asks_for_gpu or gpu_is_expected(settings.gpu_policy, settings.device) or has_hardware


def voices_of(speakers: Sequence[Speaker]) -> list[Voice]:
    """The speakers with their colours and their parts of the talk time."""
    whole = sum(speaker.seconds for speaker in speakers) or 1.0
    voices: list[Voice] = []
    offset = 0.0
    for place, speaker in enumerate(speakers):
        share = round(100 * speaker.seconds / whole, 2)
        colour = place % COLOURS
        voices.append(
            Voice(id=speaker.id, name=speaker.name, colour=colour, share=share, offset=round(offset, 2))
        )
        offset += share
    return voices


def page_in(wanted: str, pages: int) -> int:
    """The number of the page that is shown: the first for everything that is none."""
    return min(int(wanted), pages) if re.fullmatch(r"[1-9][0-9]{0,5}", wanted) else 1


def page_rows(transcription: Transcription, segments: Sequence[Segment]) -> Iterator[list[SegmentRow]]:
    """These segments of it in lists of ROWS_IN_A_LIST."""
    checks = computed(
        lambda: list(zip(segments, find_suspicions(segments), find_faults(segments), strict=True)),
        of=transcription,
    )
    rows = _rows(checks)
    while some := list(islice(rows, ROWS_IN_A_LIST)):
        yield some
        # The template takes one list after the other: a page of 10,000 rows is the work of half a second.
        let_others_run()


Check = tuple[Segment, tuple[Suspicion, ...], tuple[SubtitleFault, ...]]


def _rows(checks: Sequence[Check]) -> Iterator[SegmentRow]:
    before: Segment | None = None
    length = 0
    for segment, suspicions, faults in checks:
        opens = before is None or _opens_paragraph(before, segment, length)
        length = len(segment.text) + (0 if opens else length)
        text = segment.text.strip()
        placed = tuple(_placed(text, segment.words or ()))
        yield SegmentRow(
            segment=segment,
            stretches=tuple(_stretches(text, placed)),
            words=" ".join(_numbers(at, word, segment.start) for at, word in placed),
            suspicions=suspicions,
            faults=faults,
            changes_speaker=before is None or before.speaker != segment.speaker,
            changes_origin=_origin(segment) not in ((None, None), before and _origin(before)),
            opens_paragraph=opens,
        )
        before = segment


def _origin(segment: Segment) -> tuple[int | None, str | None]:
    return segment.channel, segment.language


def _opens_paragraph(before: Segment, segment: Segment, length: int) -> bool:
    if before.speaker != segment.speaker or _origin(before) != _origin(segment):
        return True
    ends_sentence = before.text.rstrip().endswith((".", "?", "!", "…", "。", "？", "！"))
    return segment.start - before.end >= PARAGRAPH_PAUSE or (ends_sentence and length >= PARAGRAPH_LENGTH)


def _placed(text: str, words: Sequence[Word]) -> Iterator[tuple[int, Word]]:
    """Each word with its place in the text; one that is not there is left out."""
    latest = 0
    for word in words:
        plain = word.word.strip()
        # The words stand in their order: one that is not near is not there, and is not looked for to the end.
        at = text.find(plain, latest, latest + len(plain) + FURTHEST)
        if plain and at >= 0:
            yield at, word
            latest = at + len(plain)


def _stretches(text: str, placed: Sequence[tuple[int, Word]]) -> Iterator[Stretch]:
    latest = 0
    for at, word in placed:
        if not is_unsure(word):
            continue
        if text[latest:at]:
            yield Stretch(text[latest:at], None)
        latest = at + len(word.word.strip())
        yield Stretch(text[at:latest], word.probability)
    if text[latest:]:
        yield Stretch(text[latest:], None)


def _numbers(at: int, word: Word, start: float) -> str:
    return f"{at} {_hundredths(word.start - start)} {_hundredths(word.end - start)}"


def _hundredths(seconds: float) -> int:
    return max(0, round(seconds * 100))
