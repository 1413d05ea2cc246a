"""Who has signed in: a signed cookie for each browser, good until it expires or signs out.

No session is stored, so they outlive restarts; they are signed with a secret of the installation and the key that
opened them, so they end when it is revoked, expires or becomes another. Only those that signed out are kept, until they would have expired.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from itsdangerous import Signer

from ...domain.keys import Principal

#: A cookie is this, a dot and its signature.
_HEAD = re.compile(r"([A-Za-z0-9_-]{24})\.([0-9]{1,12})\.((?:key_[A-Za-z0-9_-]{1,40})?)")

#: Sessions that signed out and are remembered; beyond that the oldest are forgotten first.
MAX_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that gave the key. `expires_at` is Unix time; `token` is what its changing requests must carry."""

    id: str
    expires_at: int
    token: str


class SessionRegister(Protocol):
    """Keeps the sessions that signed out, by id, with the Unix time at which they would have expired."""

    def read(self) -> dict[str, int]: ...

    def write(self, ended: dict[str, int]) -> None: ...


class Sessions:
    """Makes sessions and knows them again. Safe to call from any thread."""

    def __init__(
        self,
        *,
        secret: bytes,
        find_principal: Callable[[str], Principal | None],
        seconds: int,
        register: SessionRegister,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`find_principal`: who has the key of an owner, if it still opens anything; empty: the environment's.
        `seconds`: how long a session lasts. `now`: Unix time."""
        self._secret = secret
        self._find_principal = find_principal
        self.seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._register = register
        self._ended = register.read()

    def begin(self, principal: Principal) -> str:
        """The cookie of a new session for this key."""
        head = f"{secrets.token_urlsafe(18)}.{int(self._now()) + self.seconds}.{principal.owner or ''}"
        return self._signer("cookie", principal).sign(head).decode()

    def find(self, cookie: str) -> tuple[Session, Principal] | None:
        """The session of this cookie and whose it is, if we made it, it has not expired and has not been ended."""
        match = _HEAD.fullmatch(cookie.rpartition(".")[0])
        principal = self._find_principal(match[3]) if match else None
        if match is None or principal is None:
            return None
        session_id, expires_at = match[1], int(match[2])
        if not self._signer("cookie", principal).validate(cookie) or expires_at <= self._now():
            return None
        with self._lock:
            if session_id in self._ended:
                return None
        token = self._signer("token", principal).get_signature(session_id).decode()
        return Session(session_id, expires_at, token), principal

    def end(self, session: Session) -> None:
        """Sign out: its cookie opens nothing any more."""
        now = self._now()
        with self._lock:
            self._ended = {one: until for one, until in self._ended.items() if until > now}
            self._ended[session.id] = session.expires_at
            while len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]
            self._register.write(self._ended)

    def _signer(self, purpose: str, principal: Principal) -> Signer:
        """What is signed for one purpose, or with one key, is nothing to another."""
        return Signer(
            self._secret,
            salt=f"{purpose}\0{principal.digest}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
