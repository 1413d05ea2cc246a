"""Who has signed in: a signed cookie for each browser, good until it expires or signs out.

No session is stored, so they outlive restarts; they are signed with a secret of the installation and the key that
opened them, so they end when it is revoked, expires or becomes another. Only those that signed out are kept, until they would have expired.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...domain.keys import Principal

_COOKIE = re.compile(r"([A-Za-z0-9_-]{24})\.([0-9]{1,12})\.((?:key_[A-Za-z0-9_-]{1,40})?)\.([0-9a-f]{64})")

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
        self._secret = hmac.digest(secret, b"session", "sha256")
        self._find_principal = find_principal
        self.seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._register = register
        self._ended = register.read()

    def begin(self, principal: Principal) -> str:
        """The cookie of a new session of whoever gave this key."""
        head = f"{secrets.token_urlsafe(18)}.{int(self._now()) + self.seconds}.{principal.owner or ''}"
        return f"{head}.{self._sign('cookie', head, principal.digest)}"

    def find(self, cookie: str) -> tuple[Session, Principal] | None:
        """The session of this cookie and whose it is, if we made it, it has not expired and has not been ended."""
        match = _COOKIE.fullmatch(cookie)
        if match is None:
            return None
        session_id, expires_at, owner, signature = match[1], int(match[2]), match[3], match[4]
        principal = self._find_principal(owner)
        if principal is None:
            return None
        expected = self._sign("cookie", f"{session_id}.{match[2]}.{owner}", principal.digest)
        if not hmac.compare_digest(signature, expected) or expires_at <= self._now():
            return None
        with self._lock:
            if session_id in self._ended:
                return None
        return Session(session_id, expires_at, self._sign("token", session_id, principal.digest)), principal

    def end(self, session: Session) -> None:
        """Sign out: its cookie opens nothing any more."""
        now = self._now()
        with self._lock:
            self._ended = {one: until for one, until in self._ended.items() if until > now}
            self._ended[session.id] = session.expires_at
            while len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]
            self._register.write(self._ended)

    def _sign(self, purpose: str, text: str, digest: str) -> str:
        return hmac.new(self._secret, f"{purpose}\0{digest}\0{text}".encode(), hashlib.sha256).hexdigest()
