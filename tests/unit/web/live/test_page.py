"""The page of live captions, as it comes from the server."""

from __future__ import annotations

from pathlib import Path

from fakes import make_application
from transcriber.web import create_app


def test_page_says_what_it_needs_without_a_script(tmp_path: Path) -> None:
    app = create_app(make_application(tmp_path / "spool"))

    with app.test_client() as client:
        text = client.get("/live").text

    assert "<noscript>" in text
    assert 'data-socket-url="/v1/realtime"' in text


def test_page_of_a_service_without_live_captions_says_so(tmp_path: Path) -> None:
    app = create_app(make_application(tmp_path / "spool", WHISPER_LIVE_SESSIONS="0"))

    with app.test_client() as client:
        text = client.get("/live").text

    assert "This service has no live captions." in text
    assert "data-live" not in text
