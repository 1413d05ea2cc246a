"""Ids of deliveries: unguessable, and the same in every try of one message."""

from __future__ import annotations

import secrets


def new_delivery_id() -> str:
    """A fresh webhook-id with 128 random bits."""
    return "msg_" + secrets.token_urlsafe(16)
