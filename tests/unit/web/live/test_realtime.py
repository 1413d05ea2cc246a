"""Who may not open a live session is told before the socket opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import make_application
from transcriber.web import create_app

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 426, "websocket_required"),
        ({"Origin": "https://elsewhere.example"}, 403, "origin_not_allowed"),
        ({"Origin": "https://elsewhere.example", **UPGRADE}, 403, "origin_not_allowed"),
        ({"Origin": "null", **UPGRADE}, 403, "origin_not_allowed"),
        ({"Sec-Fetch-Site": "cross-site", **UPGRADE}, 403, "origin_not_allowed"),
    ],
)
def test_the_request_is_refused(tmp_path: Path, headers: dict[str, str], status: int, code: str) -> None:
    app = create_app(make_application(tmp_path / "spool"))

    with app.test_client() as client:
        answer = client.get("/v1/realtime", headers=headers)

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)


def test_another_intent_is_refused(tmp_path: Path) -> None:
    app = create_app(make_application(tmp_path / "spool"))

    with app.test_client() as client:
        answer = client.get("/v1/realtime?intent=conversation")

    assert (answer.status_code, answer.json["error"]["param"]) == (400, "intent")
