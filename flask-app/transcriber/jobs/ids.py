"""Job ids: unguessable, and safe in a URL and as a file name."""

from __future__ import annotations

import re
import secrets

#: 18 random bytes: 144 bits, 24 characters.
RANDOM_BYTES = 18

#: No fewer than 22 characters of base64, which are 128 bits.
_SHAPE = re.compile(r"job_[A-Za-z0-9_-]{22,64}")


def new_job_id() -> str:
    """A fresh id with 144 random bits. Who knows it can read the job."""
    return "job_" + secrets.token_urlsafe(RANDOM_BYTES)


def is_job_id(text: str) -> bool:
    """Whether this has the shape of a job id; nothing else may become part of a path."""
    return _SHAPE.fullmatch(text) is not None


def checked_job_id(text: str) -> str:
    """The same id. Raises ValueError for anything that could lead out of a folder."""
    if not is_job_id(text):
        raise ValueError(f"not a job id: {text[:80]!r}")
    return text
