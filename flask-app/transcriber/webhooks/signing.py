"""Signatures by the Standard Webhooks convention, and which secrets are taken for them."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from standardwebhooks import Webhook

from ..domain.errors import InvalidParameterError
from ..domain.jobs import Delivery

#: What such a secret begins with; the rest is the key in base64.
PREFIX = "whsec_"

_KEY_BYTES = range(24, 65)
_TEXT_LENGTHS = range(16, 129)
_ALLOWED = "whsec_ and the base64 of 24 to 64 bytes, or another text of 16 to 128 printable ASCII characters"


def check_secret(text: str) -> None:
    """Raises InvalidParameterError for a secret that can't sign. Its message does not repeat the secret."""
    if text.startswith(PREFIX):
        is_allowed = len(_decoded(text)) in _KEY_BYTES
    else:
        is_allowed = len(text) in _TEXT_LENGTHS and text.isascii() and text.isprintable()
    if not is_allowed:
        raise InvalidParameterError("webhook_secret", _Hidden(len(text)), _ALLOWED)


def key_of(secret: str) -> bytes:
    """The bytes that sign: what follows `whsec_`, decoded; of any other text, the text itself."""
    return _decoded(secret) if secret.startswith(PREFIX) else secret.encode()


def signed_headers(delivery: Delivery, now: datetime) -> dict[str, str]:
    """The headers of one try. The id stays, the time is that of the try; without a secret there is no signature."""
    headers = {"webhook-id": delivery.id, "webhook-timestamp": str(int(now.timestamp()))}
    if delivery.secret:
        signature = Webhook(key_of(delivery.secret)).sign(delivery.id, now, delivery.payload)
        headers["webhook-signature"] = signature
    return headers


def _decoded(secret: str) -> bytes:
    """The key of a whsec_ secret, with or without its padding; empty if it is not base64."""
    text = secret.removeprefix(PREFIX).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


class _Hidden:
    """Stands for a secret in an error message."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __repr__(self) -> str:
        return f"a text of {self._length} characters"
