"""The Flask application, put together from one file per noun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from . import (
    api,
    comparison,
    csrf,
    diagnostics_page,
    docs,
    editing,
    errors,
    health,
    job_actions,
    jobs,
    language,
    media,
    metrics_page,
    models,
    pages,
    request_log,
    resumable,
    security,
    sign_in,
    stream,
    wording,
)
from .current import EXTENSION, MEMORY, Memory
from .method_override import MethodOverride
from .operations import FILE_ANSWERS, FILE_ERRORS, Operation
from .sessions import Sessions
from .unread_bodies import UnreadBodies
from .uploads import FORM_ROOM_BYTES, UploadRequest

if TYPE_CHECKING:
    from ..application import Application

ROOT = Path(__file__).resolve().parents[3]


class TranscriberFlask(Flask):
    """Flask whose requests write uploaded files straight into the spool."""

    request_class = UploadRequest


def create_app(application: Application) -> Flask:
    """The WSGI application over one assembled service; starts nothing."""
    app = TranscriberFlask(
        "transcriber", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static")
    )
    app.config.update(
        MAX_CONTENT_LENGTH=FORM_ROOM_BYTES,
        # Werkzeug also holds its 64 kB read buffer and the rest of a boundary against this.
        MAX_FORM_MEMORY_SIZE=512 * 1024,
        MAX_FORM_PARTS=64,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.extensions[EXTENSION] = application
    settings = application.settings
    app.extensions[MEMORY] = Memory(
        sessions=Sessions(
            secret=application.session_secret,
            api_key=settings.api_key,
            seconds=settings.session_hours * 3600,
            register=application.signed_out,
        )
    )
    # The log comes first: it gives the request its id, and sees every answer last.
    for part in (request_log, security, csrf, errors, language, wording, metrics_page):
        part.init_app(app)
    for part in (pages, sign_in, language, api, resumable, jobs, job_actions, editing, media, comparison):
        app.register_blueprint(part.bp)
    for part in (stream, models, diagnostics_page, health, docs, metrics_page):
        app.register_blueprint(part.bp)
    describe_static_files(app)
    app.wsgi_app = UnreadBodies(MethodOverride(app.wsgi_app))  # type: ignore[method-assign]
    return app


def describe_static_files(app: Flask) -> None:
    """Flask's own route has its description too."""
    describe = Operation(
        "Style sheet, scripts, icon", tag="Pages", answers=FILE_ANSWERS, raises=FILE_ERRORS, is_open=True
    )
    describe(app.view_functions["static"])
