"""What a load test makes of the answers that came, and of those that did not."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from xml.etree import ElementTree

import pytest

from transcriber.cli import loadtest
from transcriber.cli.loadtest.client import Reply
from transcriber.cli.loadtest.measuring import Subject, measure, measure_together
from transcriber.cli.loadtest.report import stage_table, table, to_svg, together_table

SUBJECT = Subject(name="old", url="http://old", fields={"language": "en"})


class FakeServer:
    """Answers each clip after the seconds that the clip says."""

    def __init__(self, *, failing: int = 0) -> None:
        self.fields: list[Mapping[str, str]] = []
        self._left = failing
        self._lock = threading.Lock()

    def transcribe(self, url: str, audio: bytes, fields: Mapping[str, str]) -> Reply:
        with self._lock:
            self.fields.append(fields)
            self._left -= 1
            if self._left >= 0:
                return Reply(seconds=9.0, error="429 queue_full")
        timings = {"vad": 0.5, "transcription": 1.5}
        return Reply(seconds=float(audio), duration=4.0, device="cpu", compute_type="int8", timings=timings)

    def utilization(self, url: str) -> list[float]:
        return [0.5]


def test_level_has_percentiles_jitter_and_stages() -> None:
    clips = [str(seconds).encode() for seconds in range(1, 101)]

    level = measure(FakeServer(), SUBJECT, clips, clients=4, requests=100)

    assert (level.p50, level.p95, level.p99) == (50.0, 95.0, 99.0)
    assert level.jitter == pytest.approx(28.866, abs=0.01)
    assert level.stages == {"vad": 0.5, "transcription": 1.5}
    assert level.devices == ("cpu int8",)
    assert level.throughput > 0
    assert level.reliability == 1.0


def test_failed_requests_count_against_reliability_and_not_into_the_seconds() -> None:
    level = measure(FakeServer(failing=2), SUBJECT, [b"1"], clients=1, requests=10)

    assert level.failed == 2
    assert level.reliability == 0.8
    assert level.error == "429 queue_full"
    assert level.p99 == 1.0


def test_fields_go_with_every_request() -> None:
    server = FakeServer()

    measure(server, SUBJECT, [b"1"], clients=2, requests=3)

    assert server.fields == [{"language": "en"}] * 3


def test_together_is_the_first_alone_and_then_all() -> None:
    subjects = [Subject(name=name, url=f"http://{name}") for name in ("a", "b", "c")]

    alone, together = measure_together(FakeServer(), subjects, [b"1"], 2, 4)

    assert [level.name for level in alone] == ["a"]
    assert [level.name for level in together] == ["a", "b", "c"]
    assert "3 together: 100.0% answered, p50 up to 1.0 times" in together_table(alone, together)


def test_tables_have_a_line_each_and_the_picture_is_xml() -> None:
    levels = [
        measure(FakeServer(), Subject(name=name, url="http://x"), [b"1"], clients=clients, requests=4)
        for name in ("before", "a < b")
        for clients in (1, 4)
    ]

    assert len(table(levels).splitlines()) == 5
    assert stage_table(levels).splitlines()[1].split() == ["vad", "0.500", "0.500"]
    picture = ElementTree.fromstring(to_svg(levels))
    assert "a < b" in "".join(picture.itertext())


def test_server_that_is_not_there_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert loadtest.main(["http://127.0.0.1:9", "--clients", "1"]) == 2
    assert "Not ready: http://127.0.0.1:9" in capsys.readouterr().err


def test_names_and_models_make_subjects() -> None:
    parsed = loadtest._parser().parse_args(
        ["new=http://127.0.0.1:5000/", "http://h:1", "--models", "tiny.en,base", "--field", "language=en"]
    )

    subjects = loadtest._subjects(parsed)

    assert [(each.name, each.url, each.fields["model"]) for each in subjects] == [
        ("new tiny.en", "http://127.0.0.1:5000", "tiny.en"),
        ("new base", "http://127.0.0.1:5000", "base"),
        ("h:1 tiny.en", "http://h:1", "tiny.en"),
        ("h:1 base", "http://h:1", "base"),
    ]
    assert all(each.fields["language"] == "en" for each in subjects)
