"""The four health addresses."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from fakes import FakeApplication
from transcriber import __version__
from uploading import BROWSER


def test_health_says_ok_and_the_version(client: FlaskClient) -> None:
    assert client.get("/health").json == {"status": "ok", "version": __version__}


def test_live_is_200_whatever_the_rest_does(client: FlaskClient, application: FakeApplication) -> None:
    application.is_ready = False

    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_ready_follows_the_application(
    client: FlaskClient, application: FakeApplication, is_ready: bool, status: int
) -> None:
    application.is_ready = is_ready

    answer = client.get("/health/ready")

    assert answer.status_code == status
    assert answer.json == {"status": "degraded", "gpu_policy": "preferred"}


@pytest.mark.parametrize(("is_proven", "status"), [(True, 200), (False, 503)])
def test_gpu_follows_the_application(
    client: FlaskClient, application: FakeApplication, is_proven: bool, status: int
) -> None:
    application.is_gpu_proven = is_proven

    assert client.get("/health/gpu").status_code == status


def test_health_is_json_for_browsers_too(client: FlaskClient) -> None:
    assert client.get("/health", headers={"Accept": BROWSER}).mimetype == "application/json"
