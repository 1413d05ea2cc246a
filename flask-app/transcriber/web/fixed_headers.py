"""Headers of every answer, whichever layer makes it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Headers that are the same on every answer.
FIXED_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        # Not no-referrer: under that, browsers send our own form with "Origin: null", which is refused.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)
