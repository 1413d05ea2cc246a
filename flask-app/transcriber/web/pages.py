"""The upload page, and the icon that browsers ask for."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, render_template

from ..domain.languages import LANGUAGES
from ..domain.options import TASKS
from .current import application
from .operations import FILE_ANSWERS, FILE_ERRORS, Operation, page
from .uploads import FILE_FIELDS

bp = Blueprint("pages", __name__)

#: Tells "why is the toggle grey".
GPU_OFF = "The operator has turned the GPU off (WHISPER_GPU_POLICY=off)."


@bp.get("/")
@Operation("The upload page", tag="Pages", answers=page("A form that works without a script, too."))
def upload() -> str:
    """Choose a file and options. Works as a plain form; static/upload.js adds progress."""
    app = application()
    settings = app.settings
    return render_template(
        "upload.html",
        file_field=FILE_FIELDS[0],
        models=model_names(app.default_model, [model.name for model in app.service.models()]),
        languages=sorted(LANGUAGES.items(), key=lambda item: item[1]),
        tasks=TASKS,
        gpu_off=GPU_OFF if settings.gpu_policy == "off" else "",
        use_gpu=settings.default_use_gpu and settings.gpu_policy != "off",
        gpu_required=settings.gpu_policy == "required",
        vad_filter=settings.vad_filter,
        max_bytes=settings.max_upload_bytes,
    )


@bp.get("/favicon.ico")
@Operation("The icon", tag="Pages", answers=FILE_ANSWERS, raises=FILE_ERRORS)
def favicon() -> Response:
    """Browsers ask for this address also on pages that are not HTML."""
    return current_app.send_static_file("favicon.svg")


def model_names(default: str, present: list[str]) -> list[str]:
    """The default first, then what else is on this machine."""
    return [default, *(name for name in present if name != default)]
