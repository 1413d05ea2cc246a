"""The table of keys in memory: for embedded use and tests. It passes the same contract as the one on disk."""

from __future__ import annotations

import threading
from datetime import datetime

from ...domain.keys import ApiKey


class MemoryKeys:
    """KeyStore that forgets everything with its process. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, ApiKey] = {}

    def add(self, key: ApiKey) -> bool:
        """Keep a new key; False, and nothing, where an active key has its name."""
        with self._lock:
            if self._find(key.name) is not None:
                return False
            self._keys[key.id] = key
            return True

    def list_keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, oldest first."""
        with self._lock:
            return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    def revoke(self, name: str, now: datetime) -> ApiKey | None:
        """Revoke the key of this name; None where no active one has it."""
        with self._lock:
            found = self._find(name)
            if found is None:
                return None
            self._keys[found.id] = found.evolve(revoked_at=now)
            return self._keys[found.id]

    def note_use(self, key_id: str, now: datetime) -> None:
        """Keep when the key was last used."""
        with self._lock:
            if key_id in self._keys:
                self._keys[key_id] = self._keys[key_id].evolve(last_used_at=now)

    def _find(self, name: str) -> ApiKey | None:
        found = (key for key in self._keys.values() if key.name == name and key.revoked_at is None)
        return next(found, None)
