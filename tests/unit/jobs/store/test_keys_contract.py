"""The table of keys: one contract over every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from transcriber.domain.errors import ConfigError
from transcriber.domain.keys import ApiKey, Role, digest_of
from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.jobs.store.sql import SqlJobStore
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriber.jobs.store.sqlite_keys import has_keys, shared_keys

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
Store = MemoryJobStore | SqlJobStore


def make_key(number: int = 0, **changes: Any) -> ApiKey:
    values: dict[str, Any] = {
        "id": f"key_{number}",
        "name": f"name {number}",
        "role": Role.USER,
        "digest": digest_of(str(number)),
        "created_at": NOW + timedelta(seconds=number),
        "expires_at": NOW + timedelta(days=1),
        "max_jobs": 3,
    }
    return ApiKey(**(values | changes))


def test_key_is_given_back_as_it_was_kept(store: Store) -> None:
    keys = [make_key(0), make_key(1, role=Role.ADMIN, expires_at=None, max_jobs=0)]

    assert [store.keys.add(key) for key in reversed(keys)] == [True, True]
    assert store.keys.list_keys() == keys


def test_name_is_given_once_until_it_is_revoked(store: Store) -> None:
    store.keys.add(make_key(0, name="laptop"))

    assert store.keys.add(make_key(1, name="laptop")) is False
    store.keys.revoke("laptop", NOW)
    assert store.keys.add(make_key(2, name="laptop")) is True
    assert [key.id for key in store.keys.list_keys()] == ["key_0", "key_2"]


def test_revoked_key_stays_with_its_moment(store: Store) -> None:
    key = make_key()
    store.keys.add(key)

    assert store.keys.revoke(key.name, NOW) == key.evolve(revoked_at=NOW)
    assert store.keys.revoke(key.name, NOW) is None
    assert store.keys.revoke("nobody", NOW) is None
    assert store.keys.list_keys()[0].revoked_at == NOW


def test_use_is_noted(store: Store) -> None:
    store.keys.add(make_key())

    store.keys.note_use("key_0", NOW)
    store.keys.note_use("key_9", NOW)

    assert store.keys.list_keys()[0].last_used_at == NOW


def test_command_beside_a_running_service_sees_and_changes_the_same_keys(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    assert not has_keys(path)
    with ThreadPoolExecutor(1) as executor:
        store = SqliteJobStore(path, executor)
        with shared_keys(path, 1000) as keys:
            assert keys.add(make_key())
            store.keys.add(make_key(1))
            assert keys.list_keys() == store.keys.list_keys()
            keys.revoke("name 1", NOW)
        assert store.keys.list_keys()[1].revoked_at == NOW
        assert has_keys(path)
        store.close()


def test_store_of_an_earlier_version_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    path.touch()

    with pytest.raises(ConfigError, match="earlier version"), shared_keys(path, 1000):
        pass
