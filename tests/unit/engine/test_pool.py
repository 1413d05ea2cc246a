from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from standin_start import HeldClock, SystemClock, eventually
from transcriber.domain.errors import EngineStartError, ModelBusyError, ModelNotFoundError, ShuttingDownError
from transcriber.domain.events import EngineEvent, Resumption
from transcriber.domain.options import TranscriptionOptions
from transcriber.domain.ports import EngineInfo
from transcriber.engine.eviction import UnlimitedMemory
from transcriber.engine.pool import ChildEnginePool


class FakeEngine:
    """An engine that is alive until it is told otherwise."""

    def __init__(self, device: str, model: str, pid: int) -> None:
        self.alive = True
        self.closed = 0
        self.wasted_seconds = 0.0
        self.info = EngineInfo(
            pid=pid,
            device=device,
            device_index=0,
            device_name=None,
            device_uuid=None,
            model=model,
            compute_type="float32",
            requested_compute_type="float32",
            supported_compute_types=("float32",),
            started_at=HeldClock().now(),
            load_seconds=0.0,
            warmup_seconds=0.0,
            warmup_device=device,
        )

    def transcribe(
        self,
        job_id: str,
        pcm: Path,
        samples: int,
        options: TranscriptionOptions,
        *,
        pcm_channels: int = 1,
        lane: str = "long",
        resumption: Resumption | None = None,
    ) -> Iterator[EngineEvent]:
        return iter(())

    def cancel(self, job_id: str) -> None: ...

    def close(self, grace: float = 2.0) -> None:
        self.alive = False
        self.closed += 1


class Launcher:
    """Launches fake engines, or fails as long as it is told to."""

    def __init__(self) -> None:
        self.engines: list[FakeEngine] = []
        self.tries = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    def __call__(self, device: str, model: str) -> FakeEngine:
        self.tries += 1
        self.begun.set()
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.engines.append(FakeEngine(device, model, pid=self.tries))
        return self.engines[-1]

    def fail(self, code: str = "cuda_unavailable") -> None:
        self.error = EngineStartError("No.", code=code)


@pytest.fixture
def launch() -> Launcher:
    return Launcher()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def pool(launch: Launcher, clock: HeldClock) -> Iterator[ChildEnginePool]:
    pool = ChildEnginePool(launch=launch, max_engines=2, clock=clock, busy_timeout=0.0)
    yield pool
    pool.close()


def borrow(pool: ChildEnginePool, device: str = "cpu", model: str = "base") -> FakeEngine:
    with pool.lend(device, model) as engine:
        assert isinstance(engine, FakeEngine)
        return engine


def test_engine_is_started_once_and_lent_again(pool: ChildEnginePool, launch: Launcher) -> None:
    assert borrow(pool) is borrow(pool)
    assert launch.tries == 1
    assert [info.pid for info in pool.running()] == [1]


def test_aliases_of_a_model_share_its_engine(pool: ChildEnginePool, launch: Launcher) -> None:
    assert borrow(pool, model="turbo") is borrow(pool, model="large-v3-turbo")
    assert launch.engines[0].info.model == "large-v3-turbo"


def test_device_and_model_have_an_engine_each(pool: ChildEnginePool) -> None:
    assert borrow(pool, "cuda").info.device == "cuda"
    assert borrow(pool, "cpu").info.device == "cpu"
    assert len(pool.running()) == 2


def test_eight_at_once_wait_for_one_start(pool: ChildEnginePool, launch: Launcher) -> None:
    launch.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(borrow, pool) for _ in range(8)]
        assert launch.begun.wait(20)
        launch.gate.set()
        engines = {id(each.result(20)) for each in asked}

    assert len(engines) == 1
    assert launch.tries == 1


def test_all_who_wait_for_a_start_hear_why_it_failed(pool: ChildEnginePool, launch: Launcher) -> None:
    launch.gate.clear()
    launch.fail("cublas_missing")
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(borrow, pool) for _ in range(8)]
        assert launch.begun.wait(20)
        launch.gate.set()
        errors = [each.exception(20) for each in asked]

    assert {getattr(error, "code", None) for error in errors} == {"cublas_missing"}
    assert launch.tries == 1


def test_interrupted_start_is_taken_over_by_the_next_one(pool: ChildEnginePool, launch: Launcher) -> None:
    launch.error = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        borrow(pool)
    launch.error = None

    assert borrow(pool).alive


def seconds_to_next_try(pool: ChildEnginePool, launch: Launcher, clock: HeldClock) -> float:
    before, tries = clock.seconds, launch.tries
    while launch.tries == tries:
        clock.seconds += 0.5
        pool.tend()
    return clock.seconds - before


def test_failed_start_is_tried_again_later_and_later(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    launch.fail()
    with pytest.raises(EngineStartError):
        pool.ensure("cuda", "base")

    delays = [seconds_to_next_try(pool, launch, clock) for _ in range(9)]

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_start_that_just_failed_is_answered_without_a_new_try(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    launch.fail("cublas_missing")
    for _ in range(3):
        with pytest.raises(EngineStartError) as caught:
            borrow(pool, "cuda")
        assert caught.value.code == "cublas_missing"
    assert launch.tries == 1

    launch.error = None
    clock.seconds += 1

    assert borrow(pool, "cuda").alive


def test_last_start_error_is_kept_for_its_device_until_a_start_succeeds(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    launch.fail("cublas_missing")
    with pytest.raises(EngineStartError):
        borrow(pool, "cuda")

    error = pool.last_start_error("cuda")
    assert error is not None
    assert error.code == "cublas_missing"
    assert pool.last_start_error("cpu") is None

    launch.error = None
    clock.seconds += 1
    borrow(pool, "cuda")

    assert pool.last_start_error("cuda") is None


def test_model_that_cannot_be_fetched_says_nothing_about_its_device(
    pool: ChildEnginePool, launch: Launcher
) -> None:
    launch.fail("model_download_failed")

    with pytest.raises(EngineStartError):
        borrow(pool, "cuda")

    assert pool.last_start_error("cuda") is None


def test_missing_model_is_looked_for_again_at_once(pool: ChildEnginePool, launch: Launcher) -> None:
    launch.error = ModelNotFoundError("No such model.")
    for number in range(100):
        with pytest.raises(ModelNotFoundError):
            borrow(pool, model=f"made-up-{number}")
    assert not pool._slots  # names from requests leave nothing behind

    launch.error = None

    assert borrow(pool, model="made-up-1").alive


def test_engine_idle_longest_makes_room(pool: ChildEnginePool, clock: HeldClock) -> None:
    oldest = borrow(pool, model="tiny")
    clock.seconds += 1
    newer = borrow(pool, model="base")
    clock.seconds += 1

    borrow(pool, model="small")

    assert (oldest.closed, newer.closed) == (1, 0)
    assert {info.model for info in pool.running()} == {"base", "small"}


def test_engine_of_the_boot_makes_room_last_and_comes_back_when_there_is_some(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    pool.ensure("cpu", "base")
    clock.seconds += 1
    borrow(pool, model="tiny")
    clock.seconds += 1
    borrow(pool, model="small")
    assert {info.model for info in pool.running()} == {"base", "small"}

    with pool.lend("cpu", "small"), pool.lend("cpu", "tiny"):
        pool.tend()
        assert {info.model for info in pool.running()} == {"small", "tiny"}

    launch.engines[-1].alive = False
    pool.tend()
    assert {info.model for info in pool.running()} == {"small", "base"}
    assert pool.restarts == 0


def test_lent_engine_is_never_ended_to_make_room(pool: ChildEnginePool) -> None:
    with pool.lend("cpu", "tiny") as one, pool.lend("cpu", "base") as other:
        with pytest.raises(EngineStartError) as caught:
            borrow(pool, model="small")
        assert one.alive
        assert other.alive

    assert caught.value.code == "engines_busy"
    assert pool.last_start_error("cpu") is None


def test_borrower_waits_for_room(launch: Launcher) -> None:
    pool = ChildEnginePool(launch=launch, max_engines=1, clock=SystemClock(), busy_timeout=20.0)
    with ThreadPoolExecutor(1) as threads:
        with pool.lend("cpu", "tiny"):
            asked = threads.submit(borrow, pool, "cpu", "base")
            assert eventually(lambda: ("cpu", "base") in pool._slots)
            assert not asked.done()
        engine = asked.result(20)

    assert engine.info.model == "base"
    assert launch.engines[0].closed == 1
    pool.close()


def test_dead_engine_is_replaced_at_once(pool: ChildEnginePool, launch: Launcher) -> None:
    dead = borrow(pool)
    dead.alive = False

    fresh = borrow(pool)

    assert fresh is not dead
    assert dead.closed == 1
    assert pool.restarts == 1


def test_discarded_engine_is_ended_and_replaced(pool: ChildEnginePool) -> None:
    with pool.lend("cpu", "base") as wedged:
        pool.discard(wedged)
        pool.discard(wedged)

    assert isinstance(wedged, FakeEngine)
    assert wedged.closed == 1
    assert borrow(pool) is not wedged
    assert pool.restarts == 1


def test_kept_engine_that_dies_idle_is_started_again(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    pool.ensure("cpu", "base")
    clock.seconds += 3600
    launch.engines[0].alive = False

    pool.tend()
    assert pool.running() == ()
    clock.seconds += 1
    pool.tend()

    assert [info.pid for info in pool.running()] == [2]
    assert pool.restarts == 1


def test_kept_engine_that_dies_young_again_and_again_is_started_ever_later(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    pool.ensure("cpu", "base")
    delays = []
    for _ in range(4):
        launch.engines[-1].alive = False
        pool.tend()
        delays.append(seconds_to_next_try(pool, launch, clock))

    assert delays == [1, 2, 4, 8]

    clock.seconds += 3600
    launch.engines[-1].alive = False
    pool.tend()
    assert seconds_to_next_try(pool, launch, clock) == 1


class UnreadableMemory(UnlimitedMemory):
    """Fails as long as it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def need(self, device: str, model: str) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return 0


def test_fault_of_the_supervisor_is_logged_once_and_outlived(launch: Launcher, clock: HeldClock) -> None:
    memory = UnreadableMemory()
    pool = ChildEnginePool(launch=launch, max_engines=2, clock=clock, memory=memory, busy_timeout=0.0)
    pool.ensure("cpu", "base")
    launch.engines[0].alive = False
    pool.tend()
    clock.seconds += 10
    memory.error, memory.asked = OSError("no such folder"), 0

    with capture_logs() as logs:
        thread = pool.supervise(0.01)
        assert eventually(lambda: memory.asked >= 5)
        memory.error = None
        assert eventually(lambda: len(launch.engines) == 2)
        pool.close()
        thread.join(20)

    assert [line["event"] for line in logs].count("engine_supervisor_failed") == 1


def test_other_engine_that_dies_is_not_started_again_until_wanted(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    borrow(pool).alive = False
    clock.seconds += 100

    pool.tend()

    assert launch.tries == 1
    assert launch.engines[0].closed == 1


def test_kept_engine_that_computes_for_nobody_is_ended_and_started_again(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    pool.ensure("cpu", "base")
    launch.engines[0].wasted_seconds = 10.0
    pool.tend()
    assert launch.engines[0].closed == 0

    launch.engines[0].wasted_seconds = 10.1
    pool.tend()
    clock.seconds += 1
    pool.tend()

    assert launch.engines[0].closed == 1
    assert [info.pid for info in pool.running()] == [2]


def test_engine_that_somebody_has_borrowed_is_left_alone_though_it_wastes_time(
    pool: ChildEnginePool, launch: Launcher
) -> None:
    with pool.lend("cpu", "base"):
        launch.engines[0].wasted_seconds = 60.0
        pool.tend()

    assert launch.engines[0].closed == 0


def test_supervisor_outlives_a_fault(launch: Launcher) -> None:
    pool = ChildEnginePool(launch=launch, max_engines=2, clock=SystemClock())
    launch.error = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError):
        pool.ensure("cpu", "base")
    supervisor = pool.supervise(interval=0.01)
    assert eventually(lambda: launch.tries >= 2)

    launch.error = None

    assert eventually(lambda: pool.running())
    pool.close()
    supervisor.join(5)
    assert not supervisor.is_alive()


def test_closed_pool_ends_its_engines_and_lends_no_more(pool: ChildEnginePool) -> None:
    engines = [borrow(pool, "cpu"), borrow(pool, "cuda")]

    pool.close()

    assert [engine.closed for engine in engines] == [1, 1]
    assert pool.running() == ()
    with pytest.raises(ShuttingDownError):
        borrow(pool)


def test_engine_that_comes_up_after_the_close_is_ended(pool: ChildEnginePool, launch: Launcher) -> None:
    launch.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        starter = threads.submit(borrow, pool)
        assert launch.begun.wait(20)
        waiter = threads.submit(borrow, pool)
        pool.close()
        with pytest.raises(ShuttingDownError):
            waiter.result(20)
        launch.gate.set()
        with pytest.raises(ShuttingDownError):
            starter.result(20)

    assert launch.engines[0].closed == 1


def test_unfit_engine_is_the_error_of_its_device_until_a_fresh_one_is_up(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    unfit = EngineStartError("It computes wrongly.", code="numbers_differ")

    pool.discard(borrow(pool, "cuda"), unfit)

    assert (pool.last_start_error("cuda"), pool.running()) == (unfit, ())
    with pytest.raises(EngineStartError, match="wrongly"):
        borrow(pool, "cuda")
    pool.tend()
    assert launch.tries == 1
    clock.seconds += 1.1
    pool.tend()
    assert launch.tries == 2
    assert pool.last_start_error("cuda") is None
    assert len(pool.running()) == 1


def test_engine_that_is_only_discarded_is_not_started_again_by_itself(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    pool.discard(borrow(pool, "cuda"))
    clock.seconds += 100
    pool.tend()

    assert launch.tries == 1


def test_engine_that_is_discarded_to_be_revived_may_be_borrowed_at_once_and_comes_back_by_itself(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    full = EngineStartError("CUDA failed with error out of memory", code="cuda_out_of_memory")
    pool.discard(borrow(pool, "cuda"), full, blocks=False, revives=True)
    assert pool.last_start_error("cuda") is full
    clock.seconds += 1.1
    pool.tend()
    assert (launch.tries, pool.last_start_error("cuda")) == (2, None)

    pool.discard(borrow(pool, "cuda"), full, blocks=False, revives=True)
    borrow(pool, "cuda")
    assert (launch.tries, pool.last_start_error("cuda")) == (3, None)


def test_engine_that_failed_a_job_is_the_error_of_its_device_and_is_started_by_who_needs_it(
    pool: ChildEnginePool, launch: Launcher, clock: HeldClock
) -> None:
    wrong = EngineStartError("It computed NaN.", code="numbers_not_finite")
    pool.discard(borrow(pool, "cuda"), wrong, blocks=False)
    clock.seconds += 100
    pool.tend()

    assert (launch.tries, pool.last_start_error("cuda")) == (1, wrong)
    borrow(pool, "cuda")
    assert (launch.tries, pool.last_start_error("cuda")) == (2, None)


def test_engine_that_made_room_rests_until_another_starts_or_is_lost(
    pool: ChildEnginePool, clock: HeldClock
) -> None:
    first = borrow(pool, "cuda")
    clock.seconds += 1
    borrow(pool, "cpu")
    clock.seconds += 1
    borrow(pool, "cpu", "tiny")

    assert pool.at_rest("cuda") is first.info
    borrow(pool, "cuda")
    assert pool.at_rest("cuda") is None


def test_engine_that_died_does_not_rest(pool: ChildEnginePool) -> None:
    borrow(pool, "cuda").alive = False
    pool.tend()

    assert pool.at_rest("cuda") is None


def test_looking_at_engines_neither_borrows_nor_keeps_them(pool: ChildEnginePool, clock: HeldClock) -> None:
    first = borrow(pool, "cuda")
    clock.seconds += 1
    second = borrow(pool, "cpu")
    clock.seconds += 1

    assert pool.engines() == (first, second)
    borrow(pool, "cpu", "tiny")
    assert pool.engines()[0] is second


# Memory, rest and room


class SmallMemory:
    """Room for 100 on each device; a model needs what its name says: 'm60' needs 60."""

    def limit(self, device: str) -> int | None:
        return 100

    def need(self, device: str, model: str) -> int:
        return int(model[1:])

    def held(self, engine: EngineInfo) -> int:
        return self.need(engine.device, engine.model)

    def check(self, device: str, model: str) -> None:
        if self.need(device, model) > 100:
            raise EngineStartError("Too large.", code="memory_too_small")


@pytest.fixture
def make_pool(launch: Launcher, clock: HeldClock) -> Iterator[Callable[..., ChildEnginePool]]:
    pools: list[ChildEnginePool] = []

    def make(**changes: object) -> ChildEnginePool:
        values = {
            "launch": launch,
            "max_engines": 5,
            "clock": clock,
            "memory": SmallMemory(),
            "busy_timeout": 0.0,
        }
        pools.append(ChildEnginePool(**(values | changes)))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def models_of(pool: ChildEnginePool) -> set[str]:
    return {info.model for info in pool.running()}


def test_engine_idle_longest_makes_room_in_memory_and_only_on_its_device(
    make_pool: Callable[..., ChildEnginePool], clock: HeldClock
) -> None:
    pool = make_pool()
    for device, model in (("cuda", "m90"), ("cpu", "m40"), ("cpu", "m30")):
        borrow(pool, device, model)
        clock.seconds += 1

    borrow(pool, "cpu", "m50")

    assert models_of(pool) == {"m90", "m30", "m50"}
    rested = next(view.rest for view in pool.views() if view.model == "m40")
    assert rested is not None
    assert rested.why == "evicted"
    assert pool.unloads == {"evicted": 1}


def test_engine_at_work_is_not_ended_for_memory(make_pool: Callable[..., ChildEnginePool]) -> None:
    pool = make_pool()
    with pool.lend("cpu", "m60") as engine, pytest.raises(EngineStartError) as caught:
        borrow(pool, "cpu", "m70")

    assert (caught.value.code, engine.alive) == ("engines_busy", True)


def test_model_that_can_never_fit_is_refused_and_ends_nobody(
    make_pool: Callable[..., ChildEnginePool], launch: Launcher
) -> None:
    pool = make_pool()
    borrow(pool, "cpu", "m60")

    with pytest.raises(EngineStartError) as caught:
        borrow(pool, "cpu", "m101")

    assert caught.value.code == "memory_too_small"
    assert (models_of(pool), launch.tries) == ({"m60"}, 1)


def test_supervisor_starts_no_engine_that_requests_would_be_refused(
    make_pool: Callable[..., ChildEnginePool], clock: HeldClock, launch: Launcher
) -> None:
    pool = make_pool()
    with pytest.raises(EngineStartError):
        pool.ensure("cpu", "m101")
    clock.seconds += 1000

    pool.tend()

    assert (pool.running(), launch.tries) == ((), 0)


def test_evicted_engine_has_ended_before_the_next_starts(
    make_pool: Callable[..., ChildEnginePool], launch: Launcher
) -> None:
    pool = make_pool()
    first = borrow(pool, "cpu", "m60")
    launch.fail()

    with pytest.raises(EngineStartError):
        borrow(pool, "cpu", "m70")

    assert first.closed == 1


def test_idle_engine_is_ended_after_its_time_and_not_started_again_by_itself(
    make_pool: Callable[..., ChildEnginePool], clock: HeldClock, launch: Launcher
) -> None:
    pool = make_pool(ttl=60.0)
    pool.ensure("cpu", "m60")
    clock.seconds += 59
    pool.tend()
    assert models_of(pool) == {"m60"}

    clock.seconds += 1
    pool.tend()
    clock.seconds += 1000
    pool.tend()

    assert (models_of(pool), launch.tries, launch.engines[0].closed) == (set(), 1, 1)
    assert pool.at_rest("cpu") is launch.engines[0].info
    assert pool.last_start_error("cpu") is None
    (view,) = pool.views()
    assert (view.state, view.rest and view.rest.why) == ("unloaded", "idle")
    assert borrow(pool, "cpu", "m60") is launch.engines[1]
    assert (pool.restarts, pool.views()[0].rest) == (0, None)


def test_looking_at_an_engine_does_not_keep_it_and_a_job_does(
    make_pool: Callable[..., ChildEnginePool], clock: HeldClock
) -> None:
    pool = make_pool(ttl=60.0)
    with pool.lend("cpu", "m60"):
        clock.seconds += 1000
        pool.tend()
        assert models_of(pool) == {"m60"}
    clock.seconds += 59
    pool.engines()
    pool.views()
    pool.tend()
    assert models_of(pool) == {"m60"}

    clock.seconds += 1
    pool.tend()

    assert models_of(pool) == set()


def test_engine_that_stays_is_never_ended_for_being_idle(
    make_pool: Callable[..., ChildEnginePool], clock: HeldClock
) -> None:
    pool = make_pool()
    borrow(pool, "cpu", "m60")
    clock.seconds += 10**6
    pool.tend()

    assert models_of(pool) == {"m60"}


def test_kept_engine_that_was_unloaded_on_demand_stays_so(
    make_pool: Callable[..., ChildEnginePool], clock: HeldClock, launch: Launcher
) -> None:
    pool = make_pool()
    pool.ensure("cpu", "m60")

    assert pool.unload("m60") == 1
    clock.seconds += 1000
    pool.tend()

    assert (launch.tries, launch.engines[0].closed, pool.unload("m60")) == (1, 1, 0)


def test_unload_cuts_no_job_and_then_ends_nothing_at_all(make_pool: Callable[..., ChildEnginePool]) -> None:
    pool = make_pool()
    other = borrow(pool, "cuda", "m60")
    with pool.lend("cpu", "m60") as engine:
        with pytest.raises(ModelBusyError):
            pool.unload("m60")
        assert engine.alive
        assert other.alive
        assert pool.unload("m60", "cuda") == 1

    assert pool.unload("m60", "cpu") == 1


def test_who_waits_for_room_gets_it_though_others_keep_coming(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its turn has come, the engine in the way takes no further borrowers; they wait in line."""
    monkeypatch.setattr("transcriber.engine.pool.TURN_SECONDS", 0.0)
    pool = ChildEnginePool(
        launch=launch, max_engines=5, clock=SystemClock(), memory=SmallMemory(), busy_timeout=30.0
    )
    order: list[str] = []

    def use(model: str) -> None:
        with pool.lend("cpu", model):
            order.append(model)

    with ThreadPoolExecutor(2) as threads:
        with pool.lend("cpu", "m60"):
            waits = threads.submit(use, "m70")
            assert eventually(lambda: any(slot.is_promised for _, slot in pool._slots.items()))
            late = threads.submit(use, "m60")
            assert eventually(lambda: len(pool._line) == 2)
        waits.result(20)
        late.result(20)

    assert order == ["m70", "m60"]
    assert [engine.closed for engine in launch.engines[:2]] == [1, 1]
    pool.close()
