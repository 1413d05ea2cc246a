"""The language of the pages: by the browser's wish, or as chosen on a page; POST /language keeps the choice.

Texts are looked up by their English form in locale/LANGUAGE/LC_MESSAGES/messages.mo (scripts/translations).
"""

from __future__ import annotations

import gettext
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from flask import Blueprint, Flask, Response, g, has_request_context, make_response, redirect, request

from ...domain.errors import BadRequestError, InvalidParameterError
from ..auth.sign_in import cookie_path, is_https, next_page
from ..openapi.operations import Operation, OperationAnswer
from ..uploads.receiver import UploadRequest, parse_form

bp = Blueprint("language", __name__)

FOLDER = Path(__file__).parent / "locale"

#: The languages of the pages, each by its own name.
LANGUAGES = MappingProxyType(
    {"en": "English", "es": "Español", "de": "Deutsch", "fr": "Français", "zh": "中文"}
)

#: Of these the text runs from right to left. None of ours yet; templates ask all the same.
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur", "yi"})

COOKIE = "transcriber_language"
COOKIE_SECONDS = 365 * 24 * 3600


def init_app(app: Flask) -> None:
    """Templates say _("…") and {% trans %}, in the language of the request."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        gettext=translated, ngettext=translated_number, newstyle=True
    )
    app.context_processor(_context)


@bp.post("/language")
@Operation(
    "Choose the language of the pages (for the form on them)",
    tag="Pages",
    answers={303: OperationAnswer("Back to the page.", headers=("Location", "Set-Cookie"))},
    raises=(InvalidParameterError, BadRequestError),
    is_open=True,
)
def choose() -> Response:
    """Takes `language`; the choice is kept in a cookie. The query's `next` is the page to go back to."""
    parse_form(cast(UploadRequest, request))
    chosen = request.form.get("language", "")
    if chosen not in LANGUAGES:
        raise InvalidParameterError("language", chosen, ", ".join(LANGUAGES))
    response = make_response(redirect(next_page(request.args.get("next", "")), 303))
    response.set_cookie(
        COOKIE,
        chosen,
        max_age=COOKIE_SECONDS,
        path=cookie_path(),
        httponly=True,
        samesite="Lax",
        secure=is_https(),
    )
    return response


def current_language() -> str:
    """The language of this request's page."""
    if not has_request_context():
        return "en"
    if "language" not in g:
        chosen = request.cookies.get(COOKIE, "")
        wished = request.accept_languages.best_match(list(LANGUAGES), "en")
        g.language = chosen if chosen in LANGUAGES else wished
    return cast(str, g.language)


def translated(text: str) -> str:
    """The text in the language of the request; as it is, where there is no translation."""
    return _catalogue(current_language()).gettext(text) if text else ""


def translated_number(one: str, many: str, number: int) -> str:
    """The form that fits the number."""
    return _catalogue(current_language()).ngettext(one, many, number)


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation("messages", FOLDER, languages=[language], fallback=language == "en")


def _context() -> dict[str, Any]:
    language = current_language()
    return {
        "language": language,
        "direction": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "languages_of_pages": LANGUAGES,
    }
