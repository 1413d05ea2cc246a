"""The table of keys in the job store's own database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from ...domain.keys import ApiKey, Role
from . import queries

Answer = TypeVar("Answer")


class Transact(Protocol):
    """Runs work as one transaction."""

    def __call__(self, work: Callable[[Connection], Answer], /) -> Answer: ...


class SqlKeys:
    """KeyStore over a database. Safe to call from any thread if `transact` is."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact

    def add(self, key: ApiKey) -> bool:
        """Keep a new key; False, and nothing, where an active key has its name."""
        try:
            self._transact(lambda connection: connection.execute(queries.insert_key(_row(key))).rowcount)
        except IntegrityError:
            return False
        return True

    def list_keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, oldest first."""
        rows = self._transact(lambda connection: connection.execute(queries.select_keys()).mappings().all())
        return [_key(dict(row)) for row in rows]

    def revoke(self, name: str, now: datetime) -> ApiKey | None:
        """Revoke the key of this name; None where no active one has it."""
        statement = queries.revoke_key(name, now)
        row = self._transact(lambda connection: connection.execute(statement).mappings().first())
        return None if row is None else _key(dict(row))

    def note_use(self, key_id: str, now: datetime) -> None:
        """Keep when the key was last used."""
        self._transact(lambda connection: connection.execute(queries.note_key_used(key_id, now)).rowcount)


def _row(key: ApiKey) -> dict[str, Any]:
    return asdict(key) | {"role": key.role.value}


def _key(row: dict[str, Any]) -> ApiKey:
    return ApiKey(**row | {"role": Role(row["role"])})
