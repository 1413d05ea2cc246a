from __future__ import annotations

from transcriber.engine.eviction import EnginePlace, make_room

WANTED = EnginePlace(device="cpu", model="new", need_bytes=50, is_idle=False)


def place(
    model: str, need: int, used: float = 0.0, *, device: str = "cpu", idle: bool = True, kept: bool = False
) -> EnginePlace:
    return EnginePlace(
        device=device, model=model, need_bytes=need, is_idle=idle, is_kept=kept, last_used=used
    )


def names(*places: EnginePlace, engines: int = 9, limit: int | None = 100) -> list[str] | None:
    found = make_room(WANTED, places, max_engines=engines, limit_bytes=limit)
    return None if found is None else [each.model for each in found]


def test_nobody_goes_where_there_is_room() -> None:
    assert names(place("a", 50)) == []
    assert names() == []


def test_the_one_idle_longest_goes_first_and_kept_ones_last() -> None:
    assert names(place("a", 30, 2.0), place("b", 30, 1.0)) == ["b"]
    assert names(place("a", 30, 2.0), place("b", 30, 1.0, kept=True)) == ["a"]
    assert names(place("a", 40, 2.0), place("b", 40, 1.0), place("c", 20, 3.0)) == ["b", "a"]


def test_who_is_at_work_never_goes() -> None:
    assert names(place("a", 60, idle=False)) is None
    assert names(place("a", 60, idle=False), place("b", 20)) is None
    assert names(place("a", 40, idle=False), place("b", 20)) == ["b"]


def test_memory_of_another_device_does_not_count_and_its_engines_do() -> None:
    assert names(place("a", 1000, device="cuda")) == []
    assert names(place("a", 1000, device="cuda"), engines=1) == ["a"]


def test_no_more_go_than_have_to() -> None:
    assert names(place("a", 60, 1.0), place("b", 10, 2.0), engines=2) == ["a"]
    assert names(place("a", 60, 1.0), place("b", 10, 2.0), engines=1) == ["a", "b"]


def test_without_a_limit_only_the_number_counts() -> None:
    assert names(place("a", 10**12), limit=None) == []
    assert names(place("a", 10**12, idle=False), engines=1, limit=None) is None
