"""GET /live: captions of the microphone or a tab, by the script over /v1/realtime."""

from __future__ import annotations

from flask import Blueprint, render_template

from ..device_state import device_state
from ..extensions import application
from ..openapi.operations import Operation, page
from ..pages import model_names, spoken_languages

bp = Blueprint("live", __name__)


@bp.get("/live")
@Operation("The page of live captions", tag="Pages", answers=page("It needs a script, and says so."))
def captions() -> str:
    """Choose a model, a language and a source of sound."""
    app = application()
    return render_template(
        "live.html",
        models=model_names(app.default_model, [model.name for model in app.service.models()]),
        languages=spoken_languages(),
        device=device_state(),
        is_off=app.settings.role != "all" or not app.settings.live_sessions,
    )
