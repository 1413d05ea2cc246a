"""Who asks: the environment's key, the table's, and how soon a change counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from transcriber.domain.errors import (
    InvalidParameterError,
    KeyExistsError,
    KeyNotFoundError,
    StorageFailedError,
)
from transcriber.domain.keys import KEY, ApiKey, Role
from transcriber.jobs.store.memory_keys import MemoryKeys
from transcriber.service.keys import FIRST_NAME, REFRESH_SECONDS, KeyRing


class HeldClock:
    """Time that stands where a test puts it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class FailingKeys(MemoryKeys):
    """A table that can't be read at times; counts how often it was."""

    fails = False
    reads = 0

    def list_keys(self) -> list[ApiKey]:
        self.reads += 1
        if self.fails:
            raise StorageFailedError()
        return super().list_keys()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def store() -> FailingKeys:
    return FailingKeys()


def ring(store: MemoryKeys, clock: HeldClock, first: str = "", *, is_loopback: bool = True) -> KeyRing:
    return KeyRing(store, first=first, is_loopback=is_loopback, clock=clock)


def test_nobody_needs_a_key_where_there_is_none(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)

    assert not keys.is_needed
    assert keys.anyone().manages_keys
    assert not ring(store, clock, is_loopback=False).anyone().manages_keys


def test_key_of_the_environment_is_the_first_admin(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock, "the environment's")

    found = keys.find(b"the environment's")
    assert found is not None
    assert (found.name, found.role, found.owner) == (FIRST_NAME, Role.ADMIN, None)
    assert keys.find(b"another") is None


def test_key_is_random_and_is_found_again(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    key, secret = keys.add("laptop", Role.USER, max_jobs=2)

    found = keys.find(secret.encode())

    assert KEY.fullmatch(secret)
    assert secret not in repr(store.list_keys())
    assert found is not None
    assert (found.name, found.owner, keys.max_jobs(key.id)) == ("laptop", key.id, 2)


def test_any_key_switches_authentication_on_and_the_last_ones_end_does_not_switch_it_off(
    store: FailingKeys, clock: HeldClock
) -> None:
    keys = ring(store, clock)
    keys.add("laptop", Role.USER)
    assert keys.is_needed

    keys.revoke("laptop")

    assert keys.is_needed


def test_what_another_process_changes_counts_within_a_second(store: FailingKeys, clock: HeldClock) -> None:
    here, elsewhere = ring(store, clock), ring(store, clock)
    _, secret = elsewhere.add("laptop", Role.USER)
    clock.seconds += REFRESH_SECONDS
    assert here.find(secret.encode()) is not None

    elsewhere.revoke("laptop")
    clock.seconds += REFRESH_SECONDS

    assert here.find(secret.encode()) is None


def test_table_is_not_read_with_every_request(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    before = store.reads

    for _ in range(100):
        keys.find(b"guess")

    assert store.reads == before


def test_expired_key_opens_nothing(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    key, secret = keys.add("laptop", Role.USER, expires_at=clock.now() + timedelta(seconds=10))
    assert keys.find(secret.encode()) is not None

    clock.seconds = 10

    assert keys.find(secret.encode()) is None
    assert keys.find_by_owner(key.id) is None


def test_known_keys_stand_while_the_disk_fails(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    _, secret = keys.add("laptop", Role.USER)
    assert keys.find(secret.encode()) is not None
    store.fails = True
    clock.seconds += 1

    assert keys.find(secret.encode()) is not None
    assert keys.is_needed


def test_table_that_was_never_read_opens_nothing(store: FailingKeys, clock: HeldClock) -> None:
    store.fails = True

    with pytest.raises(StorageFailedError):
        ring(store, clock)


def test_last_use_is_written_once_a_minute(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    _, secret = keys.add("laptop", Role.USER)

    keys.find(secret.encode())
    clock.seconds += 30
    keys.find(secret.encode())
    assert store.list_keys()[0].last_used_at == datetime(2026, 1, 1, tzinfo=UTC)

    clock.seconds += 31
    keys.find(secret.encode())
    assert store.list_keys()[0].last_used_at == clock.now()


def test_names_are_checked(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    keys.add("laptop", Role.USER)

    with pytest.raises(KeyExistsError):
        keys.add("laptop", Role.USER)
    with pytest.raises(InvalidParameterError):
        keys.add("-", Role.USER)
    with pytest.raises(KeyNotFoundError):
        keys.revoke("nobody")


def test_who_was_let_in_stays_until_the_key_ends(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock, "first")
    soon = clock.now() + timedelta(minutes=5)
    _, lasting = keys.add("laptop", Role.ADMIN)
    _, short = keys.add("visitor", Role.USER, expires_at=soon)
    found = [keys.find(secret.encode()) for secret in (lasting, short, "first")]
    asking = [one for one in found if one is not None]
    before = [keys.is_valid(one) for one in asking]

    clock.seconds = 301.0
    keys.revoke("laptop")

    assert before == [True, True, True]
    assert [keys.is_valid(one) for one in asking] == [False, False, True]


def test_who_asks_without_a_key_stays_until_one_is_needed(store: FailingKeys, clock: HeldClock) -> None:
    keys = ring(store, clock)
    anyone = keys.anyone()
    before = keys.is_valid(anyone)

    keys.add("laptop", Role.USER)

    assert (before, keys.is_valid(anyone)) == (True, False)
