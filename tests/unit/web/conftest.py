"""The Flask app over a fake service, and its test client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fakes import FakeApplication, FakeService, make_application
from transcriber.web import create_app


@pytest.fixture
def application(tmp_path: Path) -> FakeApplication:
    return make_application(tmp_path / "spool")


@pytest.fixture
def service(application: FakeApplication) -> FakeService:
    return application.service


@pytest.fixture
def app(application: FakeApplication) -> Flask:
    return create_app(application)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client(use_cookies=False)  # so that a test can send a Cookie header


@pytest.fixture
def build_client(tmp_path: Path) -> Callable[..., FlaskClient]:
    """A client of an installation with these settings."""

    def build(**environ: str) -> FlaskClient:
        return create_app(make_application(tmp_path / "spool", **environ)).test_client()

    return build
