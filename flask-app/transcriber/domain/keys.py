"""Keys: who may ask, and what for. A key itself is never kept, only its digest."""

from __future__ import annotations

import enum
import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

#: What a key of the table looks like.
KEY = re.compile(r"[A-Za-z0-9_-]{32,200}")

#: A name that people give a key.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}")


class Role(enum.StrEnum):
    """What a key may do."""

    ADMIN = "admin"  #: everything, and sees every job
    USER = "user"  #: transcribes, and sees its own jobs only
    METRICS = "metrics"  #: reads figures: /metrics, /health/gpu, /diagnostics


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """One row of the table. Times are UTC with a zone; max_jobs: at work at once, 0: no limit."""

    id: str
    name: str
    role: Role
    #: SHA-256 of the key, in hex: a key is random, so a slow hash would guard nothing.
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    max_jobs: int = 0

    def is_active(self, now: datetime) -> bool:
        """Whether it opens anything now."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def evolve(self, **changes: Any) -> ApiKey:
        """A copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who asks. owner: what its jobs are marked with; None: they belong to the admins."""

    name: str
    role: Role
    owner: str | None = None
    #: May manage keys: an admin by a key, or the one user of a loopback address.
    manages_keys: bool = False
    #: What its browser sessions are bound to; another key ends them.
    digest: str = ""

    def sees(self, owner: str | None) -> bool:
        """Whether a job of this owner is its own, or it sees all."""
        return self.role is Role.ADMIN or (
            self.role is Role.USER and owner is not None and owner == self.owner
        )

    @property
    def seen_owner(self) -> str | None:
        """The owner whose jobs alone are listed; None: all."""
        return None if self.role is Role.ADMIN else self.owner


def new_secret() -> str:
    """A key: 256 random bits behind a prefix that leak scanners can look for."""
    return f"tk_{secrets.token_urlsafe(32)}"


def new_key_id() -> str:
    """An id for a key; no secret."""
    return f"key_{secrets.token_urlsafe(12)}"


def digest_of(secret: str | bytes) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()
