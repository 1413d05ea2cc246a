"""How templates say numbers and names: durations, times, sizes, languages."""

from __future__ import annotations

import math
from pathlib import Path

from flask import Flask, g
from markupsafe import Markup

from ... import __version__
from ...domain.keys import Role
from ...domain.languages import language_name
from ..auth.access import principal
from ..auth.sign_in import this_page
from ..jobs.answers import shown_url
from .error_strings import errors_of_page, said
from .js_strings import script_words
from .language import current_language

_SIZES = ("bytes", "kB", "MB", "GB", "TB")


def init_app(app: Flask) -> None:
    """Give the templates these filters, and the version."""
    app.add_template_filter(shown_number, "number")
    app.add_template_filter(clock)
    app.add_template_filter(duration)
    app.add_template_filter(about)
    app.add_template_filter(size)
    app.add_template_filter(language_title)
    app.add_template_filter(yes_no)
    app.add_template_filter(plain)
    app.add_template_filter(fill)
    app.add_template_filter(shown_url, "without_query")
    app.add_template_filter(said)
    sheets = StyleSheets(Path(app.static_folder or ""))
    app.context_processor(
        lambda: {
            "version": __version__,
            "script_words": script_words,
            "errors_of_page": errors_of_page,
            "style_sheet": sheets.inlined,
            "may_look": g.get("authorised", False),
            "may_diagnose": g.get("authorised", False) and principal().role is not Role.USER,
            "may_manage_keys": g.get("authorised", False) and principal().manages_keys,
            "here": this_page(),
        }
    )


class StyleSheets:
    """Style sheets to be written into a page itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, ...], Markup] = {}

    def inlined(self, *names: str) -> Markup:
        """These style sheets as one text; ours, so that nothing in it needs to be escaped."""
        if names not in self._known:
            text = "".join((self._folder / name).read_text() for name in names)
            if "</" in text:
                raise ValueError(f"{names} would end the style element")
            self._known[names] = Markup(text)
        return self._known[names]


def decimal(number: str) -> str:
    """A number as the language of the page writes it: 2.1, and 2,1 in German, Spanish, French."""
    return number.replace(".", ",") if current_language() in ("de", "es", "fr") else number


def shown_number(value: float, digits: int) -> str:
    """A number with this many decimals, written as the page's language does."""
    return decimal(f"{value:.{digits}f}")


def clock(seconds: float, decimals: int = 1) -> str:
    """A time in the file: 1:02.3, and 1:00:02.3 from an hour on. decimals: 1, or 0 for whole seconds."""
    tenths = max(0, round(seconds * 10) if decimals else round(seconds) * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02}" + (f".{tenths % 10}" if decimals else "")
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


def duration(seconds: float) -> str:
    """A length of time: 0.8 s, 12 min 5 s, 2 h 3 min."""
    if round(seconds, 1) < 60:
        return f"{shown_number(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def about(seconds: float) -> str:
    """An estimate, no finer than it is: 8 s, 12 min, 2 h 3 min. static/job.js says it the same way."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def size(count: float) -> str:
    """A number of bytes, in the unit that reads best (powers of 1000)."""
    step = 0
    while count >= 1000 and step < len(_SIZES) - 1:
        count /= 1000
        step += 1
    shown = f"{count:.0f}" if step == 0 or count >= 100 else shown_number(count, 1)
    return f"{shown} {_SIZES[step]}"


def language_title(code: str) -> str:
    """English name and code: German (de)."""
    name = language_name(code)
    return name.title() if name == code else f"{name.title()} ({code})"


def fill(text: str, **values: object) -> str:
    """A text of the scripts with its {gaps} filled, as static/words.js does it."""
    return text.format(**values)


def yes_no(value: bool) -> str:
    """A boolean as JSON spells it: the literal the API shows."""
    return "true" if value else "false"


def plain(value: object) -> str:
    """Any value of the diagnostics on one line; nothing is a dash."""
    if isinstance(value, bool):
        return yes_no(value)
    if value is None or value == "" or value == [] or value == () or value == {}:
        return "–"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    return str(value)
