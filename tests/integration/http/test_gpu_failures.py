"""Every failure of docs/gpu-failures.md over HTTP: named by its code, never a 200 that claims the GPU, never silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failure_rows import FAILURES, FailureRow
from hosted import IMPATIENT, Host
from media_files import make_tone, make_wave

#: Long enough for three windows of the stand-in.
SPEECH = make_wave(make_tone(65.0))
HEALTHY = FailureRow(name="healthy", code="")


@pytest.fixture(scope="module")
def host(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"), models / "tiny.en")
    yield host
    host.close()


@pytest.fixture(scope="module")
def impatient_host(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """For engines that hang; on a busy machine it may lose patience with others, too."""
    host = Host(tmp_path_factory.mktemp("impatient"), models / "tiny.en", IMPATIENT)
    yield host
    host.close()


def test_the_same_service_uses_a_gpu_that_does_not_fail(host: Host) -> None:
    model = host.stage(HEALTHY)

    answer = host.server.transcribe(SPEECH, model=model)

    assert answer.status == 200
    assert (answer.json["gpu_used"], answer.json["device"]) == (True, "cuda")
    assert host.server.transcribe(SPEECH, model=model, require_gpu="true").status == 200


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.name)
def test_no_failure_is_a_gpu_claim_or_a_silent_cpu_run(
    request: pytest.FixtureRequest, row: FailureRow
) -> None:
    hangs = row.name in ("start-hangs", "work-hangs")
    host: Host = request.getfixturevalue("impatient_host" if hangs else "host")
    model = host.stage(row)
    if row.name == "driver-missing" and host.status.driver.loaded:
        pytest.skip("this machine has an NVIDIA driver")

    answer = host.server.transcribe(SPEECH, model=model)
    gpu = host.server.get("/health/gpu")
    page = host.diagnosed()
    insisting = host.server.transcribe(SPEECH, model=model, require_gpu="true")

    assert answer.status == 200, answer.text
    body = answer.json
    assert (body["gpu_used"], answer.headers["x-gpu-used"]) == (False, "false")
    assert body["receipt"]["windows_gpu"] < body["receipt"]["windows_total"] == len(body["segments"]) == 3
    assert (body["fallback_reason"]["code"], answer.headers["x-fallback-code"]) == (row.code, row.code)
    assert body["fallback_reason"]["fix"]
    assert insisting.status == 503, insisting.text
    assert (row.refusal or row.code) in insisting.text
    if row.is_seen_by_probe:
        assert body["receipt"]["windows_gpu"] == 0
        assert page["problems"][0]["code"] == row.code
        assert (gpu.status, gpu.json["fallback_reason"]["code"]) == (503, row.code)
    if row.name.startswith("start-"):
        assert row.code in [problem["code"] for problem in page["problems"]]
        assert gpu.status == 503


def test_batch_that_does_not_fit_is_halved_and_the_work_stays_on_the_gpu(host: Host) -> None:
    model = host.stage(FailureRow(name="ladder-batch", code="", options="--room float16=1"))

    first = host.server.transcribe(SPEECH, model=model).json
    second = host.server.transcribe(SPEECH, model=model).json

    assert (first["gpu_used"], first["compute_type"], len(first["segments"])) == (True, "float16", 3)
    assert first["receipt"]["steps"] == [{"code": "smaller_batch", "before": "3", "after": "1"}]
    assert second["receipt"]["steps"] == first["receipt"]["steps"]
    assert "gpu_memory_steps" in [warning["code"] for warning in first["warnings"]]


@pytest.mark.parametrize(("when", "room"), [("load", -1), ("work", 0)])
def test_model_that_does_not_fit_goes_on_in_a_lighter_type_on_the_gpu(
    host: Host, when: str, room: int
) -> None:
    model = host.stage(FailureRow(name=f"ladder-{when}", code="", options=f"--room float16={room}"))

    first = host.server.transcribe(SPEECH, model=model, require_gpu="true")
    second = host.server.transcribe(SPEECH, model=model).json
    page = host.server.transcribe(SPEECH, model=model, accept="text/html").text

    assert first.status == 200, first.text
    lighter = {"code": "lighter_compute_type", "before": "float16", "after": "int8_float16"}
    for body in (first.json, second):
        assert (body["gpu_used"], body["compute_type"], len(body["segments"])) == (True, "int8_float16", 3)
        assert body["receipt"]["steps"] == [lighter] or body["receipt"]["steps"][1:] == [lighter]
    engines = [engine for engine in host.diagnosed()["engines"] if engine["model"] == model]
    assert [engine["compute_type"] for engine in engines] == ["int8_float16"]
    assert "lighter_compute_type" in page


def test_page_of_a_mixed_job_says_that_only_a_part_ran_on_the_gpu(host: Host) -> None:
    model = host.stage(FailureRow(name="mixed", code="", options="--windows-on cuda,cpu"))

    page = host.server.transcribe(SPEECH, model=model, accept="text/html").text

    assert "Only part of this ran on the GPU: 2 of 3 windows." in page
    assert "2 of 3 windows on the GPU" in page
