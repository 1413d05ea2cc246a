"""What OpenAI's clients send, as plain fields: arrays with and without `[]`, nested objects as `a[b]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...domain.errors import InvalidParameterError

#: Fields that are lists, by their names without brackets.
ARRAYS = frozenset(
    {
        "languages",
        "keywords",
        "include",
        "timestamp_granularities",
        "known_speaker_names",
        "known_speaker_references",
    }
)

#: Lists whose elements may hold a comma themselves: they are repeated, never split.
_WHOLE = frozenset({"known_speaker_references", "known_speaker_names"})

_NESTED = re.compile(r"([a-z_]+)\[([a-z_]*)\]")

Fields = dict[str, Any]


def fields_of_form(pairs: Iterable[tuple[str, str]]) -> Fields:
    """The fields of a multipart form or a query, the last value of each name, lists gathered."""
    fields: Fields = {}
    for name, value in pairs:
        if not (text := value.strip()):
            continue
        base, part = _split(name)
        if base in ARRAYS:
            fields.setdefault(base, []).extend(_elements(base, text))
        elif part:
            inner = fields.setdefault(base, {})
            if isinstance(inner, dict):
                inner[part] = text
        else:
            fields[base] = text
    return fields


def fields_of_json(body: Mapping[str, Any]) -> Fields:
    """The fields of a JSON body: null is the same as none, a single value the same as a list of one."""
    fields: Fields = {}
    for name, value in body.items():
        base, _ = _split(name)
        if value is None or value == "":
            continue
        if base in ARRAYS:
            given = value if isinstance(value, list) else [value]
            fields[base] = [element for one in given for element in _elements(base, _text(base, one))]
        else:
            fields[base] = value
    return fields


def _split(name: str) -> tuple[str, str]:
    """`languages[]` is ("languages", ""), `chunking_strategy[type]` is ("chunking_strategy", "type")."""
    match = _NESTED.fullmatch(name)
    return (name, "") if match is None else (match[1], match[2])


def _elements(name: str, text: str) -> list[str]:
    if name in _WHOLE:
        return [text]
    return [part for each in text.split(",") if (part := each.strip())]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidParameterError(f"{name}[]", value, "a list of texts")
    return value
