"""JSON bodies with the audio in them: `input_audio` with `data` (base64) and `format`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from flask import Request
from pydantic_core import from_json
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from ...domain.errors import (
    BadRequestError,
    InvalidParameterError,
    LimitError,
    MissingAudioError,
    UploadTooLargeError,
)
from ..cooperative_yield import TURN_BYTES, let_others_run

#: The largest JSON body. It is held in memory, unlike a file of a form; OpenAI's own limit is a file of 25 MB.
MAX_JSON_BYTES = 36 * 1024 * 1024

#: Values in a JSON body: base64 has none of the signs that part them, and the fields are few.
MAX_JSON_VALUES = 50_000

_PIECE_BYTES = 64 * 1024

#: Characters that are decoded at a time; a multiple of four.
_CHUNK = TURN_BYTES


def read_json(request: Request) -> dict[str, Any]:
    """The body. Raises BadRequestError, UploadTooLargeError."""
    request.max_content_length = MAX_JSON_BYTES
    if (request.content_length or 0) > MAX_JSON_BYTES:
        raise _too_large()
    try:
        # Refuses what json.loads takes: deep nesting, and halves of surrogate pairs, which no answer could repeat.
        found = from_json(_checked(b"".join(_pieces(request))))
    except RequestEntityTooLarge:
        raise _too_large() from None
    except (ValueError, ClientDisconnected, OSError) as error:
        raise BadRequestError(
            "The request body is not whole JSON.", fix="Send one JSON object, in UTF-8."
        ) from error
    if not isinstance(found, dict):
        raise BadRequestError("The request body is not a JSON object.", fix="Send one JSON object.")
    return found


def take_audio(body: dict[str, Any]) -> tuple[str, str]:
    """The base64 text and a file name that shows the format; taken out of the body. Raises MissingAudioError."""
    audio = body.pop("input_audio", None)
    if audio is None:
        raise MissingAudioError(
            "The JSON body has no input_audio.",
            fix="Send the file as the multipart field 'file', or its base64 as input_audio.data.",
        )
    if isinstance(audio, str):
        audio = {"data": audio}
    data = audio.get("data") if isinstance(audio, dict) else None
    if not isinstance(data, str):
        raise InvalidParameterError("input_audio", audio, "an object with data (base64) and format")
    kind = audio.get("format")
    ending = kind if isinstance(kind, str) and kind.isalnum() and len(kind) <= 8 else "bin"
    # A data URL carries the same.
    return data.partition(";base64,")[2] or data, f"audio.{ending}"


def decoded(text: str) -> Iterator[bytes]:
    """The bytes of a base64 text, piece by piece. Raises InvalidParameterError."""
    for start in range(0, len(text), _CHUNK):
        try:
            yield base64.b64decode(text[start : start + _CHUNK], validate=True)
        except (binascii.Error, ValueError):
            raise InvalidParameterError("input_audio.data", text[:20], "base64") from None
        let_others_run()


def _checked(data: bytes) -> bytes:
    """The body. Raises LimitError before memory is taken for too many values."""
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise LimitError(f"The JSON body has more than the {MAX_JSON_VALUES:,} values that are allowed.")
    return data


def _pieces(request: Request) -> Iterator[bytes]:
    until_turn = TURN_BYTES
    while piece := request.stream.read(_PIECE_BYTES):
        yield piece
        until_turn -= len(piece)
        if until_turn <= 0:
            until_turn = TURN_BYTES
            let_others_run()


def _too_large() -> UploadTooLargeError:
    return UploadTooLargeError(
        f"The JSON body is larger than the {MAX_JSON_BYTES:,} bytes that are allowed.",
        fix="Send the file as the multipart field 'file', which may be as large as WHISPER_MAX_UPLOAD_BYTES.",
    )
