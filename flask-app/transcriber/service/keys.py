"""Who asks: the keys of the table and the one of the environment, read anew as often as a change has to count."""

from __future__ import annotations

import hmac
import threading
from datetime import datetime, timedelta

import structlog

from ..domain.errors import CapacityError, InvalidParameterError, KeyExistsError, KeyNotFoundError
from ..domain.keys import NAME, ApiKey, Principal, Role, digest_of, new_key_id, new_secret
from ..domain.ports import Clock, KeyStore

logger = structlog.get_logger(__name__)

#: A key that another process added or revoked counts after this time, in seconds.
REFRESH_SECONDS = 0.5

#: How often the last use of a key is written down.
NOTE_EVERY = timedelta(minutes=1)

#: The name of the key from the environment, in lists and in the log.
FIRST_NAME = "WHISPER_API_KEY"


class KeyRing:
    """Knows the keys. Safe to call from any thread."""

    def __init__(self, store: KeyStore, *, first: str, is_loopback: bool, clock: Clock) -> None:
        """`first`: the key from the environment, an admin's; empty: none. `is_loopback`: only this machine can reach us."""
        self._store = store
        self._clock = clock
        self._first = digest_of(first) if first else ""
        self._is_loopback = is_loopback
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._has_read = False
        self._keys: dict[str, ApiKey] = {}
        self._by_digest: dict[str, ApiKey] = {}
        self._noted: dict[str, datetime] = {}
        #: Changes of this process, which are in the log already.
        self._logged: set[tuple[str, bool]] = set()
        self._known()

    @property
    def is_needed(self) -> bool:
        """Whether a request needs a key: as soon as there is, or ever was, one. Revoking the last opens nothing."""
        return bool(self._first) or bool(self._known())

    def anyone(self) -> Principal:
        """Who asks where no key is needed: the one user of a loopback address, else anybody on the network."""
        return Principal(name="", role=Role.ADMIN, manages_keys=self._is_loopback)

    def find(self, secret: bytes) -> Principal | None:
        """Who has this key; None for a wrong, revoked or expired one."""
        digest = digest_of(secret)
        if self._first and hmac.compare_digest(digest, self._first):
            return self._first_principal()
        self._known()
        key = self._by_digest.get(digest)
        if key is None or not key.is_active(self._clock.now()):
            return None
        self._note_use(key)
        return _principal(key)

    def find_by_owner(self, owner: str) -> Principal | None:
        """Who has the key of this id, by which browser sessions know theirs; empty: the environment's."""
        if not owner:
            return self._first_principal() if self._first else None
        key = self._known().get(owner)
        return _principal(key) if key is not None and key.is_active(self._clock.now()) else None

    def is_valid(self, principal: Principal) -> bool:
        """Whether who was found by a key, or asked without one, would be let in now."""
        if principal.owner is not None:
            return self.find_by_owner(principal.owner) is not None
        return bool(principal.digest) or not self.is_needed

    def all(self) -> list[ApiKey]:
        """The keys of the table, revoked ones too, oldest first."""
        return self._store.list_keys()

    def add(
        self, name: str, role: Role, *, expires_at: datetime | None = None, max_jobs: int = 0
    ) -> tuple[ApiKey, str]:
        """A new key, and the key itself, which is shown once. Raises InvalidParameterError, KeyExistsError."""
        if not NAME.fullmatch(name):
            raise InvalidParameterError("name", name, "1 to 64 letters, digits, spaces and . _ @ -")
        secret = new_secret()
        key = ApiKey(
            id=new_key_id(),
            name=name,
            role=role,
            digest=digest_of(secret),
            created_at=self._clock.now(),
            expires_at=expires_at,
            max_jobs=max_jobs,
        )
        if not self._store.add(key):
            raise KeyExistsError(f"There is a key named {name} already.")
        self._forget(key.id, is_revoked=False)
        logger.info("key_added", key_id=key.id, name=key.name, role=key.role.value)
        return key, secret

    def revoke(self, name: str) -> ApiKey:
        """Revoke a key. Raises KeyNotFoundError."""
        key = self._store.revoke(name, self._clock.now())
        if key is None:
            raise KeyNotFoundError(f"There is no key named {name[:80]!r} that is not revoked.")
        self._forget(key.id, is_revoked=True)
        logger.info("key_revoked", key_id=key.id, name=key.name)
        return key

    def max_jobs(self, owner: str | None) -> int:
        """Jobs of this owner that may be at work at once; 0: no limit. Never reads the table."""
        key = None if owner is None else self._keys.get(owner)
        return 0 if key is None else key.max_jobs

    def _known(self) -> dict[str, ApiKey]:
        """The keys by id, as they were at most REFRESH_SECONDS ago."""
        with self._lock:
            now = self._clock.monotonic()
            if now - self._read_at >= REFRESH_SECONDS:
                self._read_at = now
                self._refresh()
            return self._keys

    def _refresh(self) -> None:
        """Under the lock: no request may be judged by a table that has not been read."""
        try:
            found = {key.id: key for key in self._store.list_keys()}
        except CapacityError as error:
            if not self._has_read:
                raise
            logger.warning("keys_not_read", code=error.code, error=error.message)
            return
        if self._has_read:
            self._log_changes(found)
        self._has_read = True
        self._keys, self._by_digest = found, {key.digest: key for key in found.values()}

    def _log_changes(self, found: dict[str, ApiKey]) -> None:
        """What another process did: the command line has no log."""
        for key in found.values():
            before = self._keys.get(key.id)
            if before is None and (key.id, False) not in self._logged:
                logger.info("key_added", key_id=key.id, name=key.name, role=key.role.value)
            was_active = before is not None and before.revoked_at is None
            if was_active and key.revoked_at is not None and (key.id, True) not in self._logged:
                logger.info("key_revoked", key_id=key.id, name=key.name)

    def _forget(self, key_id: str, *, is_revoked: bool) -> None:
        """Read the table again at the next request; this change is in the log."""
        with self._lock:
            self._logged.add((key_id, is_revoked))
            self._read_at = float("-inf")

    def _note_use(self, key: ApiKey) -> None:
        now = self._clock.now()
        with self._lock:
            last = self._noted.get(key.id)
            if last is not None and now - last < NOTE_EVERY:
                return
            self._noted[key.id] = now
        self._store.note_use(key.id, now)

    def _first_principal(self) -> Principal:
        return Principal(name=FIRST_NAME, role=Role.ADMIN, manages_keys=True, digest=self._first)


def _principal(key: ApiKey) -> Principal:
    return Principal(
        name=key.name,
        role=key.role,
        owner=key.id,
        manages_keys=key.role is Role.ADMIN,
        digest=key.digest,
    )
