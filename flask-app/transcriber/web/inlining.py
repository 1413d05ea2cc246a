"""Style sheets and scripts written into a page itself: on a slow line a file of its own costs the first look a round
trip. They stay what they are in `static/`; nothing is built."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
#: A comment that has its lines to itself. One within an expression stays.
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*(?:(?!\*/).)*\*/|//[^\n]*)\n", re.MULTILINE | re.DOTALL)
_LEFT = re.compile(r"^(?:import|export)\b|\bimport\(\s*[\"']\.", re.MULTILINE)


class Inlined:
    """What of a folder pages hold themselves. Each text is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, ...], Markup] = {}

    def style_sheet(self, *names: str) -> Markup:
        """These style sheets as one text; ours, so that nothing in it needs to be escaped."""
        if names not in self._known:
            text = "".join((self._folder / name).read_text() for name in names)
            self._known[names] = _within_element(text, names)
        return self._known[names]

    def script(self, name: str) -> Markup:
        """This module and those that it imports as one. Raises ValueError for an import or export of another form than
        ours have."""
        if (name,) not in self._known:
            parts: dict[str, str] = {}
            self._join(name.removesuffix(".js"), parts)
            self._known[(name,)] = _within_element("".join(parts.values()), (name,))
        return self._known[(name,)]

    def _join(self, name: str, parts: dict[str, str]) -> None:
        """Put the module behind those that it needs: each a function of its own, which gives what it exports."""
        text = _COMMENT.sub("", (self._folder / f"{name}.js").read_text())
        for _, needed in _IMPORT.findall(text):
            if needed not in parts:
                self._join(needed, parts)
        exports = ", ".join(_EXPORT.findall(text))
        body = _EXPORT.sub("", _IMPORT.sub(r"const { \1 } = module_\2;", text))
        if found := _LEFT.search(body):
            raise ValueError(f"{name}.js: {found[0]!r} can't be joined")
        parts[name] = f"const module_{name} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"


def _within_element(text: str, names: tuple[str, ...]) -> Markup:
    if "</" in text or "<!--" in text:
        raise ValueError(f"{names} would end the element")
    return Markup(text)
