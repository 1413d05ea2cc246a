"""Small requests that once cost minutes, gigabytes or the service: each is quick, or refused with a code.

The quick form of cases/attack; beside each one everybody else is served, and the web process does not grow.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from media_files import make_tone, make_wave
from server import ROOT, Answer, Server, multipart
from silent_bodies import Probe

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SPEECH = make_wave(make_tone(2.0))

#: As promised, for a machine that does nothing else.
REQUEST_SECONDS, HEALTH_SECONDS = 2.0, 0.5
MEMORY_BYTES = 50e6


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_MODEL_PATH": str(models),
        "WHISPER_GPU_POLICY": "off",
        "WHISPER_ENGINE_COMMAND": STAND_IN,
    }
    with Server(tmp_path_factory.mktemp("attack"), env=env) as server:
        server.wait_for("/health/ready")
        yield server


def patience() -> float:
    """How much longer things take here now: by how many others want each processor. What stands still takes minutes."""
    return max(3.0, 3.0 * os.getloadavg()[0] / (os.cpu_count() or 1))


def submit(server: Server) -> str:
    """A finished job whose words have times."""
    answer = server.transcribe(SPEECH, word_timestamps="true")
    assert answer.status == 200
    return str(answer.json["job_id"])


def put(server: Server, job_id: str, segments: list[dict[str, Any]]) -> Answer:
    return put_bytes(server, job_id, json.dumps({"segments": segments}).encode())


def put_bytes(server: Server, job_id: str, body: bytes) -> Answer:
    return server.request(
        "PUT",
        f"/jobs/{job_id}/transcript",
        body=body,
        headers={"Content-Type": "application/json", "If-Match": "*"},
        timeout=120,
    )


def segment(text: str, start: float = 0, end: float = 11, sources: tuple[int, ...] = (0,)) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text, "sources": list(sources)}


def memory_bytes(server: Server) -> int:
    worker = min(pid for pid, line in server.children().items() if "gunicorn" in line)
    for line in Path(f"/proc/{worker}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")


@contextmanager
def harmless(server: Server, name: str, *, growth: float = MEMORY_BYTES) -> Iterator[None]:
    """What runs inside is quick, holds nobody up, and costs no memory."""
    before, begun = memory_bytes(server), time.monotonic()
    with Probe(server.port, pause=0.05) as probe:
        yield
        took = time.monotonic() - begun
    grown = memory_bytes(server) - before
    slowest = max(probe.seconds, default=0.0)
    print(f"{name}: {took:.2f} s, health {slowest:.3f} s at most, memory +{grown / 1e6:.0f} MB")
    assert probe.failures == []
    assert took <= patience() * REQUEST_SECONDS, name
    assert slowest <= patience() * HEALTH_SECONDS, name
    assert grown <= growth, name


def test_combining_marks_in_one_edit(server: Server) -> None:
    job_id = submit(server)
    with harmless(server, "90 KB of marks, saved"):
        assert put(server, job_id, [segment("\u0e38" * 30_000 + "ก" * 50)]).status == 200
    with harmless(server, "90 KB of marks, shown"):
        for path in ("transcript", "transcript.srt?line_length=42", "transcript.vtt?line_length=42", ""):
            assert server.get(f"/jobs/{job_id}/{path}".rstrip("/")).status == 200
        assert server.get(f"/jobs/{job_id}", headers={"Accept": "text/html"}).status == 200


def test_one_source_named_three_thousand_times(server: Server) -> None:
    job_id = submit(server)
    assert put(server, job_id, [segment("a " * 1000)]).status == 200
    with harmless(server, "sources: [0] * 3000"):
        assert put(server, job_id, [segment("b", sources=(0,) * 3000)]).status == 200


def test_the_same_words_carried_ten_thousand_times(server: Server) -> None:
    job_id = submit(server)
    assert put(server, job_id, [segment("a " * 1000)]).status == 200
    with harmless(server, "10,000 pieces of one source"):
        answer = put(server, job_id, [segment("b")] * 10_000)
    assert (answer.status, answer.json["error"]["code"]) == (422, "work_limit_exceeded")
    assert server.get(f"/jobs/{job_id}/transcript").json["revision"] == 1


def test_near_periodic_text(server: Server) -> None:
    job_id = submit(server)
    for size in (1000, 2000):
        assert put(server, job_id, [segment("x" + ("a" * 10 + "b") * (size // 11) + "y")]).status == 200
        with harmless(server, f"near-periodic text of {size}"):
            changed = "z" + ("a" * 9 + "c") * (size // 10) + "w"
            assert put(server, job_id, [segment(changed)]).status == 200


def test_row_of_dashes_as_subtitles(server: Server) -> None:
    job_id = submit(server)
    assert put(server, job_id, [segment("-" * 100_000, at, at + 1, ()) for at in range(4)]).status == 200
    with harmless(server, "400 KB of dashes as srt"):
        assert server.get(f"/jobs/{job_id}/transcript.srt").status == 200


def test_four_heavy_edits_hold_up_no_upload(server: Server) -> None:
    job_ids = [submit(server) for _ in range(4)]
    for job_id in job_ids:
        assert put(server, job_id, [segment("a " * 1000)]).status == 200
    with ThreadPoolExecutor(4) as pool:
        edits = [pool.submit(put, server, job_id, [segment("b")] * 300) for job_id in job_ids]
        body, content_type = multipart(SPEECH, "a.wav", {})
        begun = time.monotonic()
        answer = server.request("POST", "/jobs", body=body, headers={"Content-Type": content_type})
        took = time.monotonic() - begun
    print(f"POST /jobs beside four edits: {took:.2f} s")
    assert answer.status == 202
    assert took <= patience() * 0.5
    assert {edit.result().status for edit in edits} <= {200, 422}


def test_more_segments_than_allowed_are_refused(server: Server) -> None:
    job_id = submit(server)
    with harmless(server, "200,000 segments"):
        answer = put(server, job_id, [{"start": 0, "end": 1, "text": "a"}] * 200_000)
    assert (answer.status, answer.json["error"]["param"]) == (422, "segments")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (
            "500,000 unknown fields",
            b'{"segments":[{%s}]}' % b",".join(b'"%x":1' % at for at in range(500_000)),
        ),
        ("90,000 unknown fields", b'{"segments":[{%s}]}' % b",".join(b'"%x":1' % at for at in range(90_000))),
        ("2,700,000 objects", b'{"segments":[%s{}]}' % (b"{}," * 2_700_000)),
        ("190,000 objects", b'{"segments":[%s{}]}' % (b"{}," * 190_000)),
        ("240,000 sources that are no numbers", b'{"segments":[{"sources":[%s1.5]}]}' % (b"1.5," * 240_000)),
        ("4,000,000 sources", b'{"segments":[{"sources":[%s1]}]}' % (b"1," * 4_000_000)),
    ],
)
def test_transcript_that_is_none_costs_no_more_than_its_size(server: Server, name: str, body: bytes) -> None:
    job_id = submit(server)
    with harmless(server, name):
        answer = put_bytes(server, job_id, body)
    assert (answer.status, answer.json["error"]["code"]) == (422, "invalid_parameter")


def test_as_many_segments_as_allowed_come_in_pages(server: Server) -> None:
    job_id = submit(server)
    many = [{"start": at, "end": at + 1, "text": f"Segment {at}."} for at in range(25_000)]
    with harmless(server, "25,000 segments, saved"):
        assert put(server, job_id, many).status == 200
    with harmless(server, "25,000 segments, first page"):
        page = server.get(f"/jobs/{job_id}", headers={"Accept": "text/html"})
    assert page.status == 200
    assert len(page.body) < 12e6
    assert "Page 1 of 2" in page.text and "page=2" in page.text
    assert "data-save" not in page.text
    last = server.get(f"/jobs/{job_id}?page=2", headers={"Accept": "text/html"})
    assert "Segment 24999." in last.text and "Segment 14999." not in last.text


def test_honest_edit_of_200_kb_keeps_working(server: Server) -> None:
    job_id = submit(server)
    text = "Ask what you can do for your country, and not what it can do for you. "
    whole = [segment(text * 2, at * 10, at * 10 + 10) for at in range(1500)]
    with harmless(server, "an edit of 200 KB"):
        assert put(server, job_id, whole).status == 200
    with harmless(server, "the same once more"):
        again = [
            segment(one["text"].replace("not", "never"), one["start"], one["end"], (at,))
            for at, one in enumerate(whole)
        ]
        assert put(server, job_id, again).status == 200
