"""The watch over a GPU that can't serve: how often it looks, and what it does when something changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from fake_gpu import make_driver, make_engine, make_status, make_status_without_driver
from transcriber.domain.transcript import FallbackReason
from transcriber.gpu.policy import GpuSituation
from transcriber.gpu.probe.facts import GpuStatus, HardwareFacts
from transcriber.gpu.recovery import LONGEST_WAIT, GpuRecovery

GOOD, NOTHING = make_status(), make_status_without_driver()
NOT_READY = make_status(driver=make_driver(init_code=802), devices=())
MISMATCH = make_status(driver=make_driver(init_code=803), devices=())
FAILURE = FallbackReason(code="numbers_differ", message="They differ.", fix="Mend it.")


@dataclass
class Machine:
    """What a look at the GPU finds next, and what is seen in the file system."""

    finds: GpuStatus
    last: GpuStatus
    hardware: HardwareFacts = HardwareFacts(present=False)
    looks: int = 0
    taken_back: int = 0
    situation: dict[str, Any] = field(default_factory=dict)

    def status(self, max_age: float | None = None) -> GpuStatus:
        self.looks += 1
        self.last = self.finds
        return self.last

    def look(self) -> GpuSituation:
        return GpuSituation(**{"policy": "preferred", "status": self.last, **self.situation})

    def take_back(self) -> None:
        self.taken_back += 1


def watch(machine: Machine) -> GpuRecovery:
    return GpuRecovery(
        probe=machine,  # type: ignore[arg-type]
        interval=60,
        situation=machine.look,
        find_hardware=lambda: machine.hardware,
        take_back=machine.take_back,
    )


def test_gpu_that_serves_is_left_alone() -> None:
    for situation in ({"engines": (make_engine(),)}, {}):
        machine = Machine(GOOD, GOOD, situation=situation)
        watch(machine).round()
        assert machine.looks == 0


def test_unloaded_gpu_engine_is_not_woken() -> None:
    machine = Machine(GOOD, GOOD, situation={"at_rest": make_engine()})

    for _ in range(3):
        watch(machine).round()

    assert (machine.looks, machine.taken_back) == (0, 0)


def test_policy_off_looks_at_nothing() -> None:
    machine = Machine(GOOD, NOT_READY, situation={"policy": "off"})

    watch(machine).round()

    assert machine.looks == 0


def test_cause_is_followed_and_the_gpu_taken_back_once_it_is_usable() -> None:
    machine = Machine(NOT_READY, NOT_READY)
    watched = watch(machine)

    watched.round()
    machine.finds = MISMATCH
    watched.round()
    assert (machine.last.cause and machine.last.cause.code, machine.taken_back) == ("cuda_driver_mismatch", 0)
    machine.finds = GOOD
    watched.round()
    watched.round()

    assert (machine.looks, machine.taken_back) == (3, 1)


def test_engine_that_can_t_start_on_a_usable_gpu_makes_it_look_again() -> None:
    machine = Machine(NOT_READY, GOOD, situation={"failure": FAILURE})

    watch(machine).round()

    assert machine.last is NOT_READY
    assert machine.taken_back == 0  # the pool goes on trying by itself


def test_machine_without_a_sign_of_a_gpu_is_asked_less_and_less() -> None:
    machine = Machine(NOTHING, NOTHING)
    watched = watch(machine)

    looks = []
    for _ in range(60):
        watched.round()
        looks.append(machine.looks)

    assert looks[0] == 1
    gaps = [at - before for before, at in zip(_changes(looks), _changes(looks)[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_WAIT + 1


def test_sign_in_the_file_system_makes_it_look_at_once() -> None:
    machine = Machine(NOTHING, NOTHING)
    watched = watch(machine)
    for _ in range(30):
        watched.round()
    before = machine.looks

    machine.hardware = HardwareFacts(present=True, found=("/dev/nvidia0",))
    machine.finds = replace(GOOD, hardware=machine.hardware)
    watched.round()

    assert (machine.looks, machine.taken_back) == (before + 1, 1)


def test_driver_that_comes_without_a_sign_is_found_in_the_end() -> None:
    machine = Machine(NOTHING, NOTHING)
    watched = watch(machine)
    for _ in range(30):
        watched.round()

    machine.finds = GOOD
    for _ in range(LONGEST_WAIT + 1):
        watched.round()

    assert machine.taken_back == 1


def _changes(looks: list[int]) -> list[int]:
    return [i for i, count in enumerate(looks) if i == 0 or count != looks[i - 1]]
