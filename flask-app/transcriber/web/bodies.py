"""Bodies of requests that are no uploads: JSON checked by a model, and plain form fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from ..domain.errors import BadRequestError, InvalidParameterError, LimitError

Body = TypeVar("Body", bound=BaseModel)

#: Of a body of this size, a wrong value is quoted.
SHOWN_BYTES = 64 * 1024

#: Media types of the forms of pages.
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def read_json(kind: type[Body], max_bytes: int, check: Callable[[bytes], None] = lambda data: None) -> Body:
    """The JSON body. `check` sees its bytes before anything is made of them: it may refuse them.

    Raises BadRequestError, LimitError, and InvalidParameterError that names the field.
    """
    if request.mimetype != "application/json":
        raise BadRequestError(
            f"The body is {request.mimetype[:80] or 'of no stated type'}; this address takes application/json.",
            fix="Send JSON with Content-Type: application/json.",
        )
    request.max_content_length = max_bytes
    try:
        data = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise LimitError(f"The body is larger than the {max_bytes:,} bytes that are allowed.") from error
    except (ClientDisconnected, OSError) as error:
        raise BadRequestError("The body ended early.") from error
    check(data)
    try:
        return kind.model_validate_json(data, strict=True)
    except ValidationError as error:
        # What was sent is shown where that is little.
        shown = error.errors(include_url=False, include_context=False, include_input=len(data) < SHOWN_BYTES)
        raise _refusal(shown[0]) from None


def read_form() -> dict[str, str]:
    """The fields of a plain form, the last of each name; none without a body. Raises BadRequestError."""
    has_body = (request.content_length or 0) > 0 or "Transfer-Encoding" in request.headers
    if has_body and request.mimetype not in FORM_TYPES:
        raise BadRequestError(
            f"The body is {request.mimetype[:80] or 'of no stated type'}; this address takes form fields.",
            fix="Send the fields as application/x-www-form-urlencoded or in the address.",
        )
    try:
        return {name: values[-1] for name, values in request.form.lists() if name is not None}
    except ValueError as error:
        raise BadRequestError("The request body is not a whole form.") from error


def _refusal(detail: Any) -> Exception:
    if detail["type"] == "json_invalid":
        return BadRequestError(f"The body is no JSON: {detail['msg']}.", fix="Send one JSON object.")
    place = ".".join(str(part) for part in detail["loc"]) or "body"
    return InvalidParameterError(place, detail.get("input", "another value"), detail["msg"].lower())
