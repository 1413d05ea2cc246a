"""The exit reason crosses a fork, whatever is in it."""

from __future__ import annotations

import os

import pytest

from transcriber.domain.transcript import FallbackReason
from transcriber.server.exit_reason import ExitReason


@pytest.mark.parametrize("text", ["Short.", "“Ümlaut” " * 2000, ""])
def test_master_reads_what_the_worker_wrote(text: str) -> None:
    word = ExitReason()
    assert (word.find(), word.status) == (None, 0)

    pid = os.fork()
    if pid == 0:
        word.keep(FallbackReason(code="numbers_differ", message=text, fix=text), 2)
        os._exit(0)
    os.waitpid(pid, 0)

    found = word.find()
    assert found is not None
    assert (found.code, found.message, found.fix) == ("numbers_differ", text[:1500], text[:1500])
    assert word.status == 2
