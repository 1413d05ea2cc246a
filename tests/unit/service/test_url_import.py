"""Jobs whose file is fetched from a URL, over an in-memory store, a real spool and a stand-in for the network."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path

import pytest

from service_bench import DEADLINE, REQUEST, Bench, eventually
from transcriber.domain.errors import (
    EmptyUploadError,
    QueueFullError,
    TranscriberError,
    UrlNotAllowedError,
    UrlRefusedError,
    UrlUnreachableError,
)
from transcriber.domain.jobs import JobStatus
from transcriber.jobs.queue import Slots


@pytest.fixture
def native() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def bench(native: concurrent.futures.Executor, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, native)
    yield made
    made.fetcher.go.set()
    made.engine.go.set()
    made.service.close(DEADLINE)


def test_file_behind_a_url_is_fetched_once_and_transcribed(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_url()

    answer = bench.service.outcome(job.id).result(DEADLINE)

    assert answer.text
    assert bench.fetcher.fetched == ["https://media.example/talk.mp3"]
    assert bench.spool.upload_path(job.id).read_bytes() == bench.fetcher.content
    assert bench.service.get(job.id).size_bytes == len(bench.fetcher.content)
    assert eventually(lambda: bench.files(job.id) == {"upload"})


def test_job_that_is_fetched_shows_how_far_it_is_and_takes_no_slot(bench: Bench) -> None:
    bench.fetcher.holds = True
    bench.service.start()
    fetched = bench.send_url()
    assert bench.fetcher.held.acquire(timeout=DEADLINE)

    uploaded = bench.send()
    bench.service.outcome(uploaded.id).result(DEADLINE)
    view = bench.service.view(fetched.id)

    assert view.job.status is JobStatus.QUEUED and view.progress is not None
    assert (view.progress.stage, view.progress.percent) == ("fetching", 50.0)


def test_followers_hear_of_the_fetching_and_of_the_end(bench: Bench) -> None:
    bench.fetcher.holds = True
    bench.service.start()
    job = bench.send_url()
    assert bench.fetcher.held.acquire(timeout=DEADLINE)
    events = (event for event in bench.service.follow(job.id) if event is not None)

    first = next(events)
    bench.fetcher.go.set()
    kinds = [event.kind for event in events]

    assert first.data["stage"] == "fetching" and first.data["status"] == "queued"
    assert kinds[-1] == "done"


def test_url_that_can_never_be_fetched_is_refused_at_once(bench: Bench) -> None:
    bench.fetcher.refusal = UrlNotAllowedError()

    with pytest.raises(UrlNotAllowedError):
        bench.send_url()

    assert bench.service.counts()[JobStatus.QUEUED] == 0


def test_failure_of_the_server_is_the_jobs_own_error(bench: Bench) -> None:
    bench.fetcher.errors = [UrlRefusedError("The server of the URL answered with status 404.")]
    bench.service.start()
    job = bench.send_url()

    with pytest.raises(TranscriberError) as caught:
        bench.service.outcome(job.id).result(DEADLINE)

    assert caught.value.code == "url_refused"
    assert bench.service.get(job.id).status is JobStatus.FAILED


def test_fault_that_nobody_foresaw_ends_the_job_and_not_the_fetching(bench: Bench) -> None:
    bench.fetcher.errors = [ValueError("Invalid IPv6 URL")]
    bench.service.start()
    job = bench.send_url()

    with pytest.raises(TranscriberError) as caught:
        bench.service.outcome(job.id).result(DEADLINE)

    assert caught.value.code == "internal_error" and job.id in caught.value.fix
    assert bench.service.get(job.id).status is JobStatus.FAILED
    assert bench.service.outcome(bench.send_url().id).result(DEADLINE).text


def test_failed_fetch_can_be_retried(bench: Bench) -> None:
    bench.fetcher.errors = [UrlRefusedError()]
    bench.service.start()
    job = bench.send_url()
    with pytest.raises(UrlRefusedError):
        bench.service.outcome(job.id).result(DEADLINE)

    bench.service.retry(job.id)

    assert bench.service.outcome(job.id).result(DEADLINE).text


def test_server_that_is_away_for_a_moment_is_asked_again(bench: Bench) -> None:
    bench.fetcher.errors = [UrlUnreachableError(), UrlUnreachableError()]
    bench.service.start()
    job = bench.send_url()

    assert bench.service.outcome(job.id).result(DEADLINE).text
    assert len(bench.fetcher.fetched) == 3


def test_server_that_stays_away_is_given_up(bench: Bench) -> None:
    bench.fetcher.errors = [UrlUnreachableError() for _ in range(9)]
    bench.service.start()

    with pytest.raises(UrlUnreachableError):
        bench.service.outcome(bench.send_url().id).result(DEADLINE)

    assert len(bench.fetcher.fetched) == 3


def test_file_without_bytes_is_an_error(bench: Bench) -> None:
    bench.fetcher.content = b""
    bench.service.start()

    with pytest.raises(EmptyUploadError):
        bench.service.outcome(bench.send_url().id).result(DEADLINE)


def test_cancelled_fetch_stops_and_leaves_no_file(bench: Bench) -> None:
    bench.fetcher.holds = True
    bench.service.start()
    job = bench.send_url()
    assert bench.fetcher.held.acquire(timeout=DEADLINE)

    bench.service.cancel(job.id)

    assert eventually(lambda: bench.service.view(job.id).progress is None)
    assert bench.service.get(job.id).status is JobStatus.CANCELLED
    assert eventually(lambda: not bench.spool.upload_path(job.id).parent.exists())


def test_fetch_that_a_stop_cut_off_goes_on_after_the_next_start(bench: Bench) -> None:
    bench.fetcher.holds = True
    bench.service.start()
    job = bench.send_url()
    assert bench.fetcher.held.acquire(timeout=DEADLINE)
    bench.restart()
    bench.fetcher.go.set()

    assert bench.service.outcome(job.id).result(DEADLINE).text
    assert bench.service.get(job.id).attempts == 1


def test_job_is_tried_again_with_other_options_and_no_second_fetch(bench: Bench) -> None:
    bench.service.start()
    job = bench.send_url()
    bench.service.outcome(job.id).result(DEADLINE)

    again = bench.service.retry_with(job.id, REQUEST, request_id="r2")

    assert bench.service.outcome(again.id).result(DEADLINE).text
    assert again.request.url == job.request.url and len(bench.fetcher.fetched) == 1


def test_more_urls_than_may_wait_are_refused(native: concurrent.futures.Executor, tmp_path: Path) -> None:
    bench = Bench(tmp_path, native, slots=Slots(long=1, short=0, max_queue=1))
    bench.send_url()

    with pytest.raises(QueueFullError):
        bench.send_url()
