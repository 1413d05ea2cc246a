"""The upload page, and the icon that browsers ask for."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, render_template

from ..domain.languages import LANGUAGES
from ..domain.options import TASKS
from .device_state import device_state
from .extensions import application
from .i18n.filters import decimal
from .openapi.operations import FILE_ANSWERS, FILE_ERRORS, Operation, page
from .uploads.multipart import FILE_FIELDS

bp = Blueprint("pages", __name__)


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
        languages=spoken_languages(),
        tasks=TASKS,
        device=device_state(),
        gpu_off=settings.gpu_policy == "off",
        use_gpu=settings.default_use_gpu and settings.gpu_policy != "off",
        vad_filter=settings.vad_filter,
        max_bytes=settings.max_upload_bytes,
        max_hours=decimal(f"{settings.max_audio_seconds / 3600:.3g}"),
        keep_hours=settings.keep_uploads_hours,
        keep_days=settings.keep_results_days,
    )


@bp.get("/favicon.ico")
@Operation("The icon", tag="Pages", answers=FILE_ANSWERS, raises=FILE_ERRORS, is_open=True)
def favicon() -> Response:
    """Browsers ask for this address also on pages that are not HTML."""
    return current_app.send_static_file("favicon.svg")


def spoken_languages() -> list[tuple[str, str]]:
    """Code and name of every language a model may know, in the order of the names."""
    return sorted(((code, name.title()) for code, name in LANGUAGES.items()), key=lambda item: item[1])


def model_names(default: str, present: list[str]) -> list[str]:
    """The default first, then what else is on this machine."""
    return [default, *(name for name in present if name != default)]
