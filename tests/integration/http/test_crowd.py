"""Many followers of one job (the short form of scripts/sse-crowd)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server import Server
from speech_files import write_speech
from sse_crowd import ONE_AT_A_TIME, follow_in_a_crowd


@pytest.mark.model
def test_sixty_followers_of_one_job_all_see_every_segment_once_and_the_end(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(**ONE_AT_A_TIME)
    first = write_speech(tmp_path / "first.wav", 30)
    audio = write_speech(tmp_path / "audio.wav", 60)

    report = follow_in_a_crowd(server, 60, first, audio)

    assert report.is_good, report.to_dict()
    assert report.memory_growth_bytes < 60 * 1024 * 1024
