"""Who has to go so that another engine finds room: by number and by memory, the one idle longest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.ports import EngineInfo


class EngineMemory(Protocol):
    """What engines may take of each device's memory, and what they do take. Asked under the pool's lock: no waiting."""

    def limit(self, device: str) -> int | None:
        """Bytes that all engines of this device may take together; None: nothing is known, and nothing is refused."""
        ...

    def need(self, device: str, model: str) -> int:
        """Bytes that an engine of this model will take at its peak; 0: nothing is known of it."""
        ...

    def held(self, engine: EngineInfo) -> int:
        """Bytes to count for an engine that is up: its peak so far or its need, whichever is more."""
        ...

    def check(self, device: str, model: str) -> None:
        """Raises EngineStartError (memory_too_small) for a model that can't fit, even alone."""
        ...


class UnlimitedMemory:
    """No limit: the number of engines alone decides."""

    def limit(self, device: str) -> int | None:
        return None

    def need(self, device: str, model: str) -> int:
        return 0

    def held(self, engine: EngineInfo) -> int:
        return 0

    def check(self, device: str, model: str) -> None:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class EnginePlace:
    """An engine, up or starting or ending, as far as room is concerned. last_used: seconds of a monotonic clock."""

    device: str
    model: str
    need_bytes: int
    is_idle: bool
    is_kept: bool = False
    last_used: float = 0.0


def make_room(
    wanted: EnginePlace, places: Sequence[EnginePlace], *, max_engines: int, limit_bytes: int | None
) -> tuple[EnginePlace, ...] | None:
    """The idle engines to end for the wanted one, as few as may be; None: not even all of them are enough.

    limit_bytes: of the wanted one's device. Engines that are to be kept up go last.
    """
    idle = sorted((p for p in places if p.is_idle), key=lambda p: (p.is_kept, p.last_used))
    victims: list[EnginePlace] = []
    lack = 0 if limit_bytes is None else wanted.need_bytes - limit_bytes
    lack += sum(place.need_bytes for place in places if place.device == wanted.device)
    if limit_bytes is not None:
        for place in (p for p in idle if p.device == wanted.device):
            if lack <= 0:
                break
            victims.append(place)
            lack -= place.need_bytes
        if lack > 0:
            return None
    too_many = len(places) - len(victims) + 1 - max_engines
    rest = [place for place in idle if place not in victims]
    if too_many > len(rest):
        return None
    return (*victims, *rest[: max(0, too_many)])
