"""A cut of the hostile corpus against the whole service. The long form is scripts/hostile-http."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hostile_http import send_all
from hostile_media import hostile_corpus
from server import Server


@pytest.mark.model
def test_hostile_uploads_end_in_an_answer_and_the_service_holds(
    serve: Callable[..., Server], speech: Path, tmp_path: Path
) -> None:
    files = hostile_corpus(tmp_path / "corpus", mutations=20, suffixes=("mp3",))
    server = serve(WHISPER_MAX_AUDIO_SECONDS="3600")

    outcome = send_all(server, files, speech)

    assert outcome.faults == []
    assert outcome.peak_bytes - outcome.base_bytes <= 300 * 1000 * 1000
    assert outcome.slowest_health_seconds < 2.0
    assert server.transcribe(speech).status == 200
