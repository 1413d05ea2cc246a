"""/jobs/{id}/transcript: a finished transcript as it is now, changed by people, and restored."""

from __future__ import annotations

import re
from typing import Annotated, Any

from flask import Blueprint, Response, make_response, redirect, request, url_for
from pydantic import BaseModel, ConfigDict, FailFast, Field

from ...domain.answer import rounded, segment_to_dict, speakers_to_list
from ...domain.edits import EDIT_STEPS, Edit, EditedSegment, Transcript
from ...domain.errors import (
    BadRequestError,
    InvalidParameterError,
    JobNotFinishedError,
    LimitError,
    RevisionMissingError,
    StorageFullError,
    TranscriptChangedError,
    WorkLimitError,
)
from ...domain.suspicions import find_suspicions
from ...domain.work_budget import WorkBudget
from ...formats.lines import find_faults
from ..auth.access import get_job
from ..bodies import SHOWN_BYTES, read_form, read_json
from ..computing import computed, ended_with_client, json_answer
from ..extensions import application
from ..forms import Flag, Whole, parse_query
from ..openapi.answers import TranscriptAnswer
from ..openapi.operations import JSON, LOOKUP_ERRORS, RUN_ERRORS, Errors, Operation, OperationAnswer
from ..uploads.submissions import last_values
from .downloads import set_revision

bp = Blueprint("editing", __name__, url_prefix="/jobs/<job_id>")

#: A transcript of a day of speech takes a third of it.
MAX_BODY_BYTES = 8 * 1024 * 1024

#: A day of speech has some 20,000.
MAX_SEGMENTS = 25_000

#: Times beyond a year of audio are mistakes.
MAX_SECONDS = 3.2e7

#: A, B, … as the service gives them, or another short word.
SPEAKER_ID = r"^[A-Za-z0-9_-]{1,32}$"

#: Each segment has six strings, seven with a speaker, and five commas; texts have brackets and commas, too.
MAX_STRINGS = 8 * MAX_SEGMENTS
MAX_COMMAS = 10 * MAX_SEGMENTS

#: A string of JSON, and whether it is the name of a field.
_STRING = re.compile(rb'"(?P<text>(?:[^"\\]|\\.)*+)"(?P<colon>\s*:)?', re.DOTALL)

_TAG = re.compile(r"r([0-9]{1,9})")


class SegmentBody(BaseModel):
    """One segment of an edited transcript; times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)
    end: float = Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)
    text: str = Field(max_length=100_000, description="one without text is dropped")
    sources: Annotated[list[int], FailFast()] = Field(
        [],
        max_length=10_000,
        description="ids of the segments that it was made of; word times are carried over from them",
    )
    speaker: str | None = Field(
        None, pattern=SPEAKER_ID, description="the id of who says it; null: as in the first source"
    )


class SpeakerBody(BaseModel):
    """A name for a speaker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=SPEAKER_ID)
    name: str = Field(max_length=100, description="empty: none")


class TranscriptBody(BaseModel):
    """A whole transcript in place of the one that was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segments: Annotated[list[SegmentBody], FailFast()] = Field(max_length=MAX_SEGMENTS)
    speakers: Annotated[list[SpeakerBody], FailFast()] = Field(
        [], max_length=1000, description="new names of speakers; the others keep theirs"
    )


_FIELDS = frozenset(
    name.encode() for body in (TranscriptBody, SegmentBody, SpeakerBody) for name in body.model_fields
)


class TranscriptQuery(BaseModel):
    """What GET takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    original: Flag = Field(False, description="true or false; true shows what the engine wrote")


class RestoreForm(BaseModel):
    """What the form of the page sends."""

    revision: Whole = Field(ge=0, le=10**9, description="the revision that is given up, a whole number")


_FINDING: Errors = (JobNotFinishedError, *LOOKUP_ERRORS, *RUN_ERRORS)
_SAVING: Errors = (RevisionMissingError, TranscriptChangedError, StorageFullError, *_FINDING)
_SHOWN = OperationAnswer("The transcript as it is now.", {JSON: TranscriptAnswer}, headers=("ETag",))


@bp.get("/transcript")
@Operation(
    "Read a transcript as people left it",
    tag="Jobs",
    query=TranscriptQuery,
    answers={200: _SHOWN},
    raises=(InvalidParameterError, *_FINDING),
)
def show(job_id: str) -> Response:
    """With its revision as ETag, and what is to be said of single segments."""
    job = get_job(job_id)
    transcript = application().service.transcripts.get(job.id)
    if parse_query(TranscriptQuery, last_values(request.args)).original:
        original = application().service.transcription(job.id)
        return _shown(Transcript(transcription=original, edit=Edit()))
    return _shown(transcript)


@bp.put("/transcript")
@Operation(
    "Save an edited transcript",
    tag="Jobs",
    body=TranscriptBody,
    headers=("If-Match",),
    answers={200: _SHOWN},
    raises=(BadRequestError, InvalidParameterError, LimitError, WorkLimitError, *_SAVING),
)
def save(job_id: str) -> Response:
    """All segments at once, on top of the revision in If-Match. What the engine wrote is kept beside it."""
    job = get_job(job_id)
    body = read_json(TranscriptBody, MAX_BODY_BYTES, _check_shape)
    edited = computed(lambda: _checked(body))
    service = application().service
    with ended_with_client(WorkBudget(EDIT_STEPS)) as budget:
        names = {one.id: " ".join(one.name.split()) for one in body.speakers}
        saved = service.transcripts.save(job.id, expected_revision(job.id), edited, budget, names)
    return _shown(saved)


@bp.delete("/transcript")
@Operation(
    "Take back what was edited",
    tag="Jobs",
    headers=("If-Match",),
    answers={200: _SHOWN},
    raises=_SAVING,
)
def restore(job_id: str) -> Response:
    """The transcript is again what the engine wrote, as a new revision."""
    job = get_job(job_id)
    return _shown(application().service.transcripts.restore(job.id, expected_revision(job.id)))


@bp.post("/restore")
@Operation(
    "Take back what was edited (for plain forms)",
    tag="Jobs",
    form=RestoreForm,
    answers={303: OperationAnswer("Back to the job's page.", headers=("Location",))},
    raises=(BadRequestError, InvalidParameterError, *_SAVING),
)
def restore_by_form(job_id: str) -> Response:
    """The same as DELETE on the transcript, for a form of a page."""
    job = get_job(job_id)
    fields = read_form()
    if not fields.get("revision", "").strip():
        raise RevisionMissingError()
    application().service.transcripts.restore(job.id, parse_query(RestoreForm, fields).revision)
    return make_response(redirect(url_for("jobs.show", job_id=job.id), 303))


def expected_revision(job_id: str) -> int:
    """The revision in If-Match. Raises RevisionMissingError, TranscriptChangedError."""
    if "If-Match" not in request.headers:
        raise RevisionMissingError()
    tags = request.if_match
    present = application().service.transcripts.get(job_id).edit.revision
    if tags.star_tag:
        return present
    found = [match for tag in tags.as_set() if (match := _TAG.fullmatch(tag))]
    if present not in [int(match[1]) for match in found]:
        raise TranscriptChangedError(f"The transcript is at revision {present}.")
    return present


def _check_shape(data: bytes) -> None:
    """Raises InvalidParameterError before memory is taken for more values than a transcript has, or for unknown fields.

    By the bytes: the parser makes an object of each value, and one more of each that it refuses.
    """
    count = data.count(b'"text"')
    if count > MAX_SEGMENTS:
        raise InvalidParameterError("segments", f"{count} of them", f"{MAX_SEGMENTS:,} segments at most")
    strings = (data.count(b'"') - data.count(b'\\"')) // 2
    if (
        strings > MAX_STRINGS
        or data.count(b"{") + data.count(b"[") > MAX_STRINGS
        or data.count(b",") > MAX_COMMAS
    ):
        raise InvalidParameterError("body", "more values than a transcript has", "segments and speakers")
    if len(data) <= SHOWN_BYTES:
        return  # the model says in which place the field is
    for string in _STRING.finditer(data):
        if string["colon"] and string["text"] not in _FIELDS:
            name = string["text"][:80].decode(errors="replace")
            known = ", ".join(sorted(field.decode() for field in _FIELDS))
            raise InvalidParameterError(name, "a field of this name", f"only {known}")


def _checked(body: TranscriptBody) -> list[EditedSegment]:
    """The segments. Raises InvalidParameterError for one that ends before it begins."""
    for number, segment in enumerate(body.segments):
        if segment.end < segment.start:
            raise InvalidParameterError(
                f"segments.{number}.end", segment.end, f"a time from its start, {segment.start}, on"
            )
    return [
        EditedSegment(
            start=one.start, end=one.end, text=one.text, sources=tuple(one.sources), speaker=one.speaker
        )
        for one in body.segments
    ]


def transcript_to_dict(transcript: Transcript) -> dict[str, Any]:
    """The transcript as the API shows it."""
    transcription = transcript.transcription
    checks = zip(find_suspicions(transcription.segments), find_faults(transcription.segments), strict=True)
    return {
        "job_id": transcription.job_id,
        "revision": transcript.edit.revision,
        "is_edited": transcript.is_edited,
        "edited_at": None if transcript.edit.edited_at is None else transcript.edit.edited_at.isoformat(),
        "language": transcription.language,
        "duration": rounded(transcription.duration, 3),
        "text": transcription.text,
        "segments": [segment_to_dict(segment) for segment in transcription.segments],
        "speakers": speakers_to_list(transcription.speakers),
        "checks": [
            {
                "segment": segment.id,
                "suspicions": [{"code": one.code, "value": rounded(one.value, 3)} for one in suspicions],
                "subtitle": [
                    {"code": one.code, "value": rounded(one.value, 3), "limit": one.limit} for one in faults
                ],
            }
            for segment, (suspicions, faults) in zip(transcription.segments, checks, strict=True)
            if suspicions or faults
        ],
    }


def _shown(transcript: Transcript) -> Response:
    answer = json_answer(lambda: transcript_to_dict(transcript), of=transcript.transcription)
    return set_revision(answer, transcript)
