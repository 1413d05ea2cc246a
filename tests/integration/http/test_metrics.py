"""GET /metrics of a real server: what it says follows what the jobs' answers said."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from fake_gpu import healthy_environment
from media_files import make_tone, make_wave
from server import ROOT, Server, multipart

STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'support' / 'standin_engine.py'}"
SPEECH = make_wave(make_tone(5.0))
KEY = {"Authorization": "Bearer a-key-of-some-length"}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(server: Server) -> Samples:
    page = server.get("/metrics", headers=KEY)
    assert page.status == 200
    families = text_string_to_metric_families(page.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def scrape_until(server: Server, name: str, **labels: str) -> Samples:
    """The first scrape that has counted this."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        samples = scrape(server)
        if samples.get((name, frozenset(labels.items()))):
            return samples
        time.sleep(0.05)
    raise TimeoutError(f"{name} {labels} is not counted: {samples}")


def transcribe(server: Server) -> Any:
    """The answer to one file, sent with the key."""
    body, content_type = multipart(SPEECH, "private talk.wav", {})
    sent = server.request("POST", "/transcribe", body=body, headers=KEY | {"Content-Type": content_type})
    assert sent.status == 200, sent.text
    return sent.json


def test_job_is_in_the_metrics_as_it_is_in_its_answer(serve: Callable[..., Server]) -> None:
    server = serve(WHISPER_ENGINE_COMMAND=STAND_IN, WHISPER_API_KEY="a-key-of-some-length")
    assert server.get("/metrics").status == 401
    broken = KEY | {"Content-Type": "text/plain"}
    assert server.request("POST", "/transcribe", body=b"no form", headers=broken).status == 400

    answer = transcribe(server)
    samples = scrape_until(server, "transcriber_jobs_total", device="cpu", outcome="succeeded")

    def sample(name: str, **labels: str) -> float | None:
        return samples.get((f"transcriber_{name}", frozenset(labels.items())))

    engine = {"device": "cpu", "model": "tiny.en", "compute_type": answer["compute_type"]}
    assert sample("fallback_total", reason=answer["fallback_reason"]["code"]) == 1
    assert sample("jobs_gpu_requested_total") == 1
    assert sample("jobs_gpu_used_total") == 0
    assert sample("jobs_gpu_used_ratio") == 0
    assert sample("windows_total", device="cpu") == answer["receipt"]["windows_total"]
    assert sample("audio_seconds_total", device="cpu", model="tiny.en") == answer["duration"]
    assert sample("engines", **engine) == 1
    assert sample("ready") == 1
    assert sample("gpu_proven") == 0
    assert sample("health_status", status="degraded") == 1
    assert sample("gpu_fault_info", code=answer["fallback_reason"]["code"]) == 1
    assert sample("http_requests_total", method="POST", route="/transcribe", status="200") == 1
    assert sample("http_requests_total", method="POST", route="/transcribe", status="400") == 1


def test_proven_gpu_and_its_jobs_are_in_the_metrics(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(
        WHISPER_ENGINE_COMMAND=f"{STAND_IN} --windows-on cuda",
        WHISPER_API_KEY="a-key-of-some-length",
        **healthy_environment(tmp_path / "gpu"),
    )

    answer = transcribe(server)
    samples = scrape_until(server, "transcriber_jobs_total", device="cuda", outcome="succeeded")

    def sample(name: str, **labels: str) -> float | None:
        return samples.get((f"transcriber_{name}", frozenset(labels.items())))

    assert answer["gpu_used"] is True
    assert sample("jobs_gpu_used_total") == 1
    assert sample("jobs_gpu_used_ratio") == 1
    assert sample("windows_total", device="cuda") == answer["receipt"]["windows_gpu"]
    assert sample("gpu_proven") == 1
    assert (sample("gpu_proof_age_seconds") or 0) > 0
    assert sample("health_status", status="ok") == 1
    assert sample("fallback_total", reason="none_given") == 0
    assert sample("gpu_fault_info") is None
