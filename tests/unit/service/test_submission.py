"""Rows that are written although the store says that they are not."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path

import pytest

from service_bench import DEADLINE, Bench
from transcriber.domain.errors import JobNotFoundError, StorageFailedError
from transcriber.domain.jobs import JobStatus


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with concurrent.futures.ThreadPoolExecutor(4) as native:
        made = Bench(tmp_path, native)
        yield made
        made.service.close(DEADLINE)


def test_job_whose_row_is_not_written_is_refused_and_unknown(bench: Bench) -> None:
    bench.store.failures["add"] = 1

    with pytest.raises(StorageFailedError):
        bench.send(idempotency_key="k")

    again = bench.send(idempotency_key="k")
    assert bench.store.ids() == {again.id}


def test_job_whose_row_is_written_after_all_is_accepted_and_runs(bench: Bench) -> None:
    bench.store.failures["add"] = 1
    bench.store.lies.add("add")
    bench.service.start()

    job = bench.send()

    bench.service.outcome(job.id).result(DEADLINE)
    assert bench.service.get(job.id).status is JobStatus.SUCCEEDED


def test_doubtful_row_is_removed_when_its_key_comes_again(bench: Bench) -> None:
    bench.store.failures |= {"add": 1, "get": 1}
    bench.store.lies.add("add")
    with pytest.raises(StorageFailedError):
        bench.send(idempotency_key="k")
    (doubtful,) = bench.store.ids()

    again = bench.send(idempotency_key="k")

    assert again.id != doubtful
    with pytest.raises(JobNotFoundError):
        bench.store.get(doubtful)
