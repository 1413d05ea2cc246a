"""Errors as OpenAI's clients expect them: their body, their statuses, and the fix in the message."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..domain.errors import TranscriberError

#: Where the addresses are that OpenAI's clients ask.
PREFIX = "/v1/"

#: Statuses that OpenAI's own service has others for: its clients know a wrong request by 400.
_STATUS: Mapping[int, int] = MappingProxyType({422: 400})

#: Our names of fields whose names are others there.
_PARAMS: Mapping[str, str] = MappingProxyType({"audio": "file", "initial_prompt": "prompt", "upload": "file"})


def is_openai(path: str) -> bool:
    """Whether an OpenAI client asks: errors of these addresses are never a page."""
    return path.startswith(PREFIX)


def openai_status(status: int) -> int:
    """The status that goes with our own."""
    return _STATUS.get(status, status)


def openai_body(error: TranscriberError, kind: str) -> dict[str, Any]:
    """All four keys. SDKs show the message alone, so the fix stands in it, too."""
    message = f"{error.message} {error.fix}".strip() if error.fix not in error.message else error.message
    param = error.param
    return {
        "error": {
            "message": message,
            "type": kind,
            "param": None if param is None else _PARAMS.get(param, param),
            "code": error.code,
            "fix": error.fix,
        }
    }
