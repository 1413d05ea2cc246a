"""The Flask application, put together from one file per noun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from ..domain.errors import TranscriberError
from ..system.paths import PROJECT
from . import errors, pages, request_log
from .admin import diagnostics, health, keys, metrics, models
from .asr.leading_slashes import OneLeadingSlash
from .asr.routes import bp as asr
from .auth import csrf, security, sign_in
from .auth.sessions import Sessions
from .connection_guard import ConnectionGuard
from .extensions import EXTENSION, MEMORY, WebState
from .i18n import filters, language
from .jobs import actions, listing, media, stream, transcribe
from .live import page as live_page
from .live import realtime
from .method_override import MethodOverride
from .openai.routes import bp as openai
from .openapi import docs
from .openapi.operations import FILE_ANSWERS, FILE_ERRORS, Operation
from .ranges import OneRange
from .refusals import answer_bytes
from .transcripts import archive, comparison, editing
from .trusted_proxy import TrustedProxy
from .uploads import resumable
from .uploads.body_drain import BodyDrain
from .uploads.receiver import FORM_ROOM_BYTES, UploadRequest

if TYPE_CHECKING:
    from ..server.connections import Connections
    from ..server.lifecycle import Application


class TranscriberFlask(Flask):
    """Flask whose requests write uploaded files straight into the spool."""

    request_class = UploadRequest

    @property
    def connections(self) -> Connections:
        """For gunicorn's worker: where it counts them."""
        application: Application = self.extensions[EXTENSION]
        return application.connections

    def refusal_bytes(self, error: TranscriberError, request_id: str) -> bytes:
        """For gunicorn's worker: the answer to bytes that are no request."""
        return answer_bytes(error, request_id)


def create_app(application: Application) -> Flask:
    """The WSGI application over one assembled service; starts nothing."""
    app = TranscriberFlask(
        "transcriber", template_folder=str(PROJECT / "templates"), static_folder=str(PROJECT / "static")
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
    app.extensions[MEMORY] = WebState(
        sessions=Sessions(
            secret=application.session_secret,
            find_principal=application.keys.find_by_owner,
            seconds=settings.session_hours * 3600,
            register=application.revoked_sessions,
        )
    )
    # The log comes first: it gives the request its id, and sees every answer last.
    for part in (request_log, security, csrf, errors, language, filters, metrics):
        part.init_app(app)
    for part in (
        pages,
        sign_in,
        language,
        transcribe,
        resumable,
        listing,
        actions,
        editing,
        media,
        comparison,
        archive,
    ):
        app.register_blueprint(part.bp)
    for part in (stream, models, diagnostics, health, docs, metrics):
        app.register_blueprint(part.bp)
    app.register_blueprint(openai)
    app.register_blueprint(asr)
    app.register_blueprint(realtime.bp)
    app.register_blueprint(live_page.bp)
    app.register_blueprint(keys.bp)
    describe_static_files(app)
    inner = BodyDrain(OneLeadingSlash(MethodOverride(OneRange(app.wsgi_app))))
    guarded = ConnectionGuard(inner, open_paths(app))
    app.wsgi_app = TrustedProxy(guarded, settings.trusted_proxies)  # type: ignore[method-assign]
    return app


def open_paths(app: Flask) -> frozenset[str]:
    """Where a body may be sent without a key."""
    return frozenset(
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint in security.OPEN_ENDPOINTS and "POST" in (rule.methods or ())
    )


def describe_static_files(app: Flask) -> None:
    """Flask's own route has its description too."""
    describe = Operation(
        "Style sheet, scripts, icon", tag="Pages", answers=FILE_ANSWERS, raises=FILE_ERRORS, is_open=True
    )
    describe(app.view_functions["static"])
