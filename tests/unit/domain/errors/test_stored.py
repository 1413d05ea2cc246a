"""Errors kept with a job come back as they were."""

from __future__ import annotations

import pytest

from transcriber.domain.errors import GpuRequiredError, TranscriberError
from transcriber.domain.errors.stored import iter_classes, kept, restored
from transcriber.domain.jobs import JobError


@pytest.mark.parametrize("kind", list(iter_classes()), ids=lambda kind: kind.__name__)
def test_error_comes_back_with_its_class(kind: type[TranscriberError]) -> None:
    error = kind.__new__(kind)
    TranscriberError.__init__(error, "what happened", fix="do this", param="audio")

    again = restored(kept(error))

    assert type(again) is kind
    assert (again.message, again.code, again.fix, again.param) == (
        "what happened",
        kind.code,
        "do this",
        "audio",
    )


def test_more_exact_code_keeps_its_class() -> None:
    stored = kept(GpuRequiredError("no", code="cublas_missing"))

    again = restored(stored)

    assert stored.kind == "gpu_required"
    assert type(again) is GpuRequiredError
    assert again.code == "cublas_missing"


def test_code_of_another_version_is_an_error_all_the_same() -> None:
    again = restored(JobError(code="from_the_future", message="?", fix=""))

    assert type(again) is TranscriberError
    assert again.code == "from_the_future"
