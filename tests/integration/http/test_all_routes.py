"""scripts/validate --all against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from server import Server
from transcriber.cli import route_check

SURFACE = Path(__file__).resolve().parents[2] / "data" / "surface.json"


def test_every_route_is_asked_and_answers_as_it_should(shared: Server) -> None:
    with route_check.httpx2.Client(base_url=shared.url, timeout=300, trust_env=False) as client:
        check = route_check.RouteCheck(client)
        check.run()

    assert check.wrong == []
    paths = json.loads(SURFACE.read_text())["openapi"]["paths"]
    asked = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert asked <= set(check.asked)
