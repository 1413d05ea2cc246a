"""Recordings of known speakers: data URLs in fields of the form, and the bytes in them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...domain.errors import InvalidParameterError
from ...service.diarization import REFERENCES
from ..uploads.receiver import FORM_ROOM_BYTES
from .json_body import decoded

MOST_REFERENCES = 4

#: Bytes of one recording: ten seconds of uncompressed stereo at 48 kHz, and more.
MAX_REFERENCE_BYTES = 2_500_000

#: The same as a field of a form, and the room that the form then takes besides its file.
MAX_FIELD_BYTES = MAX_REFERENCE_BYTES * 4 // 3 + 200
FORM_BYTES = MOST_REFERENCES * MAX_FIELD_BYTES + FORM_ROOM_BYTES

_DATA_URL = re.compile(
    r"data:[\w.+-]{0,100}/?[\w.+-]{0,100}(?:;[\w.+=\"-]{1,100}){0,5},", re.ASCII | re.IGNORECASE
)


def decode_references(urls: Sequence[str]) -> tuple[bytes, ...]:
    """The recordings. Raises InvalidParameterError."""
    return tuple(_decode(url) for url in urls)


def _decode(url: str) -> bytes:
    head = _DATA_URL.match(url)
    if head is None or not head[0].lower().endswith(";base64,"):
        raise _refusal(url)
    if len(url) - head.end() > MAX_REFERENCE_BYTES * 4 // 3 + 4:
        raise InvalidParameterError(
            REFERENCES, f"more than {MAX_REFERENCE_BYTES:,} bytes", "recordings of 2 to 10 seconds"
        )
    try:
        data = b"".join(decoded(url[head.end() :]))
    except InvalidParameterError:
        raise _refusal(url) from None
    if not data:
        raise _refusal(url)
    return data


def _refusal(url: str) -> InvalidParameterError:
    return InvalidParameterError(
        REFERENCES, url[:60], "data URLs of recordings of 2 to 10 seconds: data:audio/wav;base64,…"
    )
