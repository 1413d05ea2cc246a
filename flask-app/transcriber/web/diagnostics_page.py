"""GET /diagnostics: the same facts as a page for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template

from .answers import DiagnosticsAnswer
from .current import application
from .negotiation import wants_html
from .operations import HTML, JSON, Answer, Operation

bp = Blueprint("diagnostics", __name__)

#: How the banner of the verdict looks, by the status of the diagnostics.
TONES = MappingProxyType({"ok": "good", "degraded": "warn", "failed": "bad"})


@bp.get("/diagnostics")
@Operation(
    "What this installation is and where it computes",
    tag="Health",
    answers={200: Answer("The verdict and all that it rests on.", {JSON: DiagnosticsAnswer, HTML: str})},
)
def show() -> Response:
    """The verdict in one sentence, then everything it rests on."""
    facts = asdict(application().diagnostics())
    response = _page(facts) if wants_html() else jsonify(facts)
    response.vary.add("Accept")
    return response


def _page(facts: dict[str, Any]) -> Response:
    report = json.dumps(facts, indent=2, ensure_ascii=False, default=str)
    tone = TONES.get(facts["status"], "plain")
    return make_response(render_template("diagnostics.html", facts=facts, tone=tone, report=report))
