"""What systemd is told, and when it is told nothing."""

from __future__ import annotations

from transcriber.server.watchdog import Vitals, Watchdog, WatchedHeartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A watchdog over a worker whose notes the test writes."""

    def __init__(self) -> None:
        self.clock, self.vitals, self.said = Clock(), Vitals(), list[str]()
        self.watchdog = Watchdog(self.vitals, self.said.append, self.clock)

    def note(self, *, proof_left: float = 1e9, is_serving: bool = True) -> None:
        self.vitals.note(
            store_at=self.clock.now, proof_until=self.clock.now + proof_left, is_serving=is_serving
        )

    def pass_seconds(self, seconds: int, *, loop: bool = True, store: bool = True) -> list[str]:
        """What was said meanwhile."""
        self.said.clear()
        loop_at = self.clock.now
        for _ in range(seconds):
            self.clock.now += 1
            if loop:
                loop_at = self.clock.now
            if store:
                self.note()
            self.watchdog.look(loop_at)
        return list(self.said)


def test_ready_is_said_once_a_worker_serves_and_not_before() -> None:
    service = Service()
    service.note(is_serving=False)
    service.watchdog.look(service.clock.now)
    assert service.said == []

    service.note()
    service.watchdog.look(service.clock.now)
    service.watchdog.look(service.clock.now)

    assert service.said == ["READY=1\nSTATUS=Serving\nWATCHDOG=1"]


def test_whole_service_gives_a_sign_of_life_every_five_seconds() -> None:
    service = Service()
    service.pass_seconds(1)

    assert service.pass_seconds(20) == ["WATCHDOG=1"] * 4


def test_event_loop_that_stands_still_is_not_spoken_for() -> None:
    service = Service()
    service.pass_seconds(1)

    said = service.pass_seconds(60, loop=False)

    assert said.count("WATCHDOG=1") == 4
    assert said[-1].startswith("STATUS=The web worker's event loop")


def test_store_that_does_not_answer_is_not_spoken_for() -> None:
    service = Service()
    service.pass_seconds(1)

    said = service.pass_seconds(90, store=False)

    assert said.count("WATCHDOG=1") == 8
    assert said[-1].startswith("STATUS=The job store")


def test_required_proof_that_is_too_old_is_not_spoken_for() -> None:
    service = Service()
    service.pass_seconds(1)
    service.note(proof_left=-1)
    service.said.clear()
    service.clock.now += 6

    service.watchdog.look(service.clock.now)

    assert service.said == ["STATUS=The GPU is required, and its proof is too old"]


def test_service_that_comes_round_is_spoken_for_again() -> None:
    service = Service()
    service.pass_seconds(1)
    service.pass_seconds(30, loop=False)

    assert service.pass_seconds(6)[0] == "STATUS=Serving\nWATCHDOG=1"


def test_master_looks_whenever_it_reads_the_heartbeat() -> None:
    class Heartbeat:
        def last_update(self) -> float:
            return 7.0

        def fileno(self) -> int:
            return 3

    looks: list[float] = []
    watched = WatchedHeartbeat(Heartbeat(), looks.append)

    assert (watched.last_update(), watched.fileno(), looks) == (7.0, 3, [7.0])
