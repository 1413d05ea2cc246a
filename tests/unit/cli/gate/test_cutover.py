"""Traffic is moved, refused or moved back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from transcriber.cli.gate import cutover
from transcriber.cli.gate.cutover import Cutover, EnvironmentSwitch, NginxSwitch, Watch
from transcriber.cli.gate.judgement import Demands
from transcriber.cli.gate.measurement import GateLoad, GateReading, Measurement
from transcriber.cli.gate.probe import references
from transcriber.domain.errors import TranscriberError

OLD, NEW = "http://127.0.0.1:5000", "http://127.0.0.1:5001"


class FakeSwitch:
    """Remembers where traffic was sent."""

    def __init__(self) -> None:
        self.turns: list[str] = []

    def point_to(self, url: str, previous: str) -> None:
        self.turns.append(url)


def measured(device: str = "cpu") -> Measurement:
    rows = tuple(
        GateReading(
            name=name, status=200, seconds=0.1, text=text, model="base", device=device, windows_total=1
        )
        for name, text in references().items()
    )
    load = GateLoad(clients=2, requests=4, failed=0, p50=0.1, p95=0.2, throughput=10.0)
    return Measurement(url=NEW, verdict="", selftest="passed", readings=rows, load=load)


def run(switch: FakeSwitch, looks: Iterator[GateReading], demands: Demands | None = None) -> int:
    moved = Cutover(
        old=OLD,
        new=NEW,
        switch=switch,
        gate=lambda _: measured(),
        look=lambda _: next(looks),
        demands=demands or Demands(),
        say=lambda _: None,
    )
    return moved.run(measured(), Watch(seconds=0.2, every=0.0))


def forever(row: GateReading) -> Iterator[GateReading]:
    while True:
        yield row


def test_good_server_gets_the_traffic() -> None:
    switch = FakeSwitch()

    assert run(switch, forever(measured().readings[0])) == 0
    assert switch.turns == [NEW]


def test_server_on_the_cpu_is_refused_where_the_gpu_is_demanded() -> None:
    switch = FakeSwitch()

    assert run(switch, forever(measured().readings[0]), Demands(device="gpu")) == cutover.EXIT_REFUSED
    assert switch.turns == []


def test_breach_after_the_switch_is_rolled_back() -> None:
    switch = FakeSwitch()

    status = run(switch, forever(replace(measured().readings[0], status=503, error="engine_unavailable")))

    assert status == cutover.EXIT_ROLLED_BACK
    assert switch.turns == [NEW, OLD]


def test_one_bad_look_is_no_breach() -> None:
    good = measured().readings[0]
    rows = [replace(good, status=0), good]

    def looks() -> Iterator[GateReading]:
        yield from rows
        yield from forever(good)

    switch = FakeSwitch()

    assert run(switch, looks()) == 0


def test_interrupted_watch_gives_the_traffic_back() -> None:
    def looks() -> Iterator[GateReading]:
        raise KeyboardInterrupt
        yield

    switch = FakeSwitch()

    with pytest.raises(KeyboardInterrupt):
        run(switch, looks())
    assert switch.turns == [NEW, OLD]


def test_nginx_gets_both_upstreams(tmp_path: Path) -> None:
    file = tmp_path / "upstream.conf"

    NginxSwitch(file=file, reload="true").point_to(NEW, OLD)

    assert file.read_text().splitlines() == [
        "upstream transcriber { server 127.0.0.1:5001; }",
        "upstream transcriber_previous { server 127.0.0.1:5000; }",
    ]


def test_reload_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "upstream.conf"
    file.write_text("before")

    with pytest.raises(TranscriberError, match="ended with 1"):
        NginxSwitch(file=file, reload="false").point_to(NEW, OLD)

    assert file.read_text() == "before"


def test_callers_variable_is_changed_alone(tmp_path: Path) -> None:
    file = tmp_path / "caller.env"
    file.write_text("OTHER=1\nAUDIO_SERVICE_URL=http://old\n")

    EnvironmentSwitch(file=file, variable="AUDIO_SERVICE_URL", reload="true").point_to(NEW, OLD)

    assert file.read_text().splitlines() == ["OTHER=1", f"AUDIO_SERVICE_URL={NEW}"]
