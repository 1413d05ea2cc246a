"""GET /diagnostics: the same facts as a page for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answered

from ...domain import errors as e
from ..extensions import application
from ..negotiation import wants_html
from ..openapi.admin_answers import DiagnosticsAnswer, SelfTestAnswer, SelfTestQuery
from ..openapi.operations import ADMINS, FIGURES, HTML, JSON, Operation, OperationAnswer
from .charts import charts, minutes

bp = Blueprint("diagnostics", __name__)

#: How the banner of the verdict looks, by the status of the diagnostics.
TONES = MappingProxyType({"ok": "good", "degraded": "warn", "failed": "bad"})


@bp.get("/diagnostics")
@Operation(
    "What this installation is and where it computes",
    tag="Health",
    roles=FIGURES,
    answers={
        200: OperationAnswer("The verdict and all that it rests on.", {JSON: DiagnosticsAnswer, HTML: str})
    },
)
def show() -> Response:
    """The verdict in one sentence, then everything it rests on."""
    facts = asdict(application().diagnostics())
    response = _page(facts) if wants_html() else jsonify(facts)
    response.vary.add("Accept")
    return response


@bp.post("/diagnostics/selftest")
@Operation(
    "Test an engine now",
    tag="Health",
    roles=ADMINS,
    answers={
        200: OperationAnswer(
            "It passed; or none is loaded, and `outcome` is `skipped`.", {JSON: SelfTestAnswer}
        ),
        303: OperationAnswer("To the page that shows it, for browsers.", headers=("Location",)),
        503: OperationAnswer("It failed, or was too slow.", {JSON: SelfTestAnswer}),
    },
    query=SelfTestQuery,
    raises=(e.InvalidParameterError,),
)
def selftest() -> Answered | tuple[Response, int]:
    """The engine that serves requests without wishes, between two of its batches; none is started for it."""
    device = _given_device()
    finding = application().selftest(device)
    if wants_html():
        return redirect(url_for("diagnostics.show", _anchor="selftests"), 303)
    return jsonify(finding.to_dict()), 200 if finding.outcome in ("passed", "skipped") else 503


def _given_device() -> str | None:
    """Raises InvalidParameterError."""
    device = request.args.get("device", "")
    if device not in ("", "cuda", "cpu"):
        raise e.InvalidParameterError("device", device, "cuda or cpu")
    return device or None


#: The series of the last hour that make a chart worth showing.
SERIES = ("rtf_gpu", "rtf_cpu", "waiting", "at_work", "gpu_use")


def _has_data(values: list[float | None]) -> bool:
    return any(values)


def _overview() -> dict[str, int | None]:
    """The figures of the tiles that the diagnostics' JSON does not have."""
    app = application()
    counts = {status.value: number for status, number in app.service.counts().items()}
    return {
        "queued": counts.get("queued", 0),
        "running": counts.get("running", 0),
        "jobs": sum(counts.values()),
        "free_bytes": app.disk_free_bytes(),
    }


def _page(facts: dict[str, Any]) -> Response:
    hour = facts["last_hour"]
    # The report is to be read and sent: three hundred numbers of the charts would hide the rest.
    summary = hour and {name: value for name, value in hour.items() if not isinstance(value, list)}
    report = json.dumps(facts | {"last_hour": summary}, indent=2, ensure_ascii=False, default=str)
    model_manager = application().models
    page = render_template(
        "diagnostics.html",
        facts=facts,
        tone=TONES.get(facts["status"], "plain"),
        report=report,
        charts=charts(hour) if hour else {},
        minutes=minutes(hour) if hour else [],
        has_history=bool(hour) and any(_has_data(hour[name]) for name in SERIES),
        overview=_overview(),
        models=model_manager.all(),
        memory=model_manager.memory(),
    )
    return make_response(page)
