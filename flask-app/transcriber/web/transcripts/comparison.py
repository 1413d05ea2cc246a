"""GET /compare: two transcripts side by side, and the words in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from flask import Blueprint, Response, make_response, render_template, request
from pydantic import BaseModel, Field

from ...domain.answer import rounded
from ...domain.comparison import COMPARISON_STEPS, Comparison, ComparisonRow
from ...domain.errors import InvalidParameterError, JobNotFinishedError
from ...domain.jobs import Job
from ...domain.work_budget import WorkBudget
from ..auth.access import get_job
from ..computing import ended_with_client, json_answer
from ..cooperative_yield import let_others_run
from ..extensions import application
from ..negotiation import wants_html
from ..openapi.answers import ComparisonAnswer
from ..openapi.operations import HTML, JSON, LOOKUP_ERRORS, RUN_ERRORS, Operation, OperationAnswer
from .page import ROWS_IN_A_LIST, SEGMENTS_ON_A_PAGE

bp = Blueprint("comparison", __name__)

_TWO = "the ids of two jobs that have succeeded, as job=…&job=…"


class CompareQuery(BaseModel):
    """What GET /compare takes."""

    job: list[str] = Field(description=_TWO)


@bp.get("/compare")
@Operation(
    "Compare two transcripts",
    tag="Jobs",
    query=CompareQuery,
    answers={200: OperationAnswer("Both, row by row.", {JSON: ComparisonAnswer, HTML: str})},
    raises=(InvalidParameterError, JobNotFinishedError, *LOOKUP_ERRORS, *RUN_ERRORS),
)
def show() -> Response:
    """Case and punctuation do not count. The left one is the older job."""
    job_ids = list(dict.fromkeys(request.args.getlist("job")))
    if len(job_ids) != 2:
        raise InvalidParameterError(
            "job", job_ids, _TWO, fix="Mark two finished jobs in the list, then press Compare."
        )
    left, right = sorted((get_job(job_id) for job_id in job_ids), key=lambda job: job.number)
    with ended_with_client(WorkBudget(COMPARISON_STEPS)) as budget:
        comparison = application().service.transcripts.compare(left.id, right.id, budget)
    if wants_html():
        page = render_template(
            "compare.html", jobs=(left, right), comparison=comparison, lists=page_rows(comparison.rows)
        )
        response = make_response(page)
    else:
        response = json_answer(lambda: _to_dict(left, right, comparison))
    response.vary.add("Accept")
    return response


def page_rows(rows: Sequence[ComparisonRow]) -> Iterator[Sequence[ComparisonRow]]:
    """The rows that a page shows, in tables of ROWS_IN_A_LIST; all others are in the JSON."""
    for at in range(0, min(len(rows), SEGMENTS_ON_A_PAGE), ROWS_IN_A_LIST):
        yield rows[at : at + ROWS_IN_A_LIST]
        let_others_run()


def _to_dict(left: Job, right: Job, comparison: Comparison) -> dict[str, object]:
    rows = [
        {
            "start": rounded(row.start, 3),
            "left": [asdict(piece) for piece in row.left],
            "right": [asdict(piece) for piece in row.right],
        }
        for row in comparison.rows
    ]
    return {
        "jobs": [left.id, right.id],
        "agreement": rounded(comparison.agreement, 4),
        "left_words": comparison.left_words,
        "right_words": comparison.right_words,
        "left_only": comparison.left_only,
        "right_only": comparison.right_only,
        "rows": rows,
    }
