"""X-Forwarded-Prefix and X-Forwarded-Proto: from the operator's own proxies, and from nobody else."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from uploading import BROWSER

PROXY = {"REMOTE_ADDR": "10.0.0.7"}


@pytest.fixture
def proxied(build_client: Callable[..., FlaskClient]) -> FlaskClient:
    """An installation that trusts one network."""
    client = build_client(WHISPER_TRUSTED_PROXIES="10.0.0.0/24,::1")
    client.environ_base |= PROXY
    return client


def send(client: FlaskClient, path: str, prefix: str) -> TestResponse:
    form = {"audio": (io.BytesIO(b"RIFF...."), "speech.wav")}
    return client.post(path, data=form, headers={"X-Forwarded-Prefix": prefix})


@pytest.mark.parametrize("prefix", ["/whisper", "/whisper/", "/a/b.c-d"])
@pytest.mark.parametrize("path", ["/jobs", "{prefix}/jobs"])
def test_addresses_begin_with_the_prefix_whether_the_proxy_took_it_off_or_not(
    proxied: FlaskClient, prefix: str, path: str
) -> None:
    below = prefix.rstrip("/")

    answer = send(proxied, path.format(prefix=below), prefix)

    assert answer.status_code == 202
    assert answer.headers["Location"].startswith(f"{below}/jobs/job_")
    assert answer.json["links"]["self"].startswith(f"{below}/jobs/job_")


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a/../b",
        "/..",
        "/a b",
        "/<script>",
        "x",
        "/",
    ],
)
def test_prefix_that_is_no_plain_path_is_ignored(proxied: FlaskClient, prefix: str) -> None:
    answer = send(proxied, "/jobs", prefix)

    assert answer.headers["Location"].startswith("/jobs/job_")


def test_headers_of_anybody_else_are_ignored(client: FlaskClient, proxied: FlaskClient) -> None:
    headers = {"X-Forwarded-Prefix": "/whisper", "X-Forwarded-Proto": "https"}

    for someone, address in ((client, "127.0.0.1"), (proxied, "10.0.1.7"), (proxied, "::2"), (proxied, "")):
        page = someone.get(
            "/", headers=headers | {"Accept": BROWSER}, environ_overrides={"REMOTE_ADDR": address}
        )
        assert page.status_code == 200 and "/whisper" not in page.text


def test_address_of_ipv6_that_holds_one_of_ipv4_is_the_same(proxied: FlaskClient) -> None:
    answer = proxied.get(
        "/",
        headers={"X-Forwarded-Prefix": "/whisper", "Accept": BROWSER},
        environ_overrides={"REMOTE_ADDR": "::ffff:10.0.0.9"},
    )

    assert 'action="/whisper/transcribe"' in answer.text


def test_signing_in_stays_below_the_prefix(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_TRUSTED_PROXIES="10.0.0.0/24", WHISPER_API_KEY="a long random key")
    client.environ_base |= PROXY
    headers = {"X-Forwarded-Prefix": "/whisper", "X-Forwarded-Proto": "https", "Accept": BROWSER}

    sent_away = client.get("/jobs?q=a", headers=headers)
    form = {"key": "a long random key"}
    back = client.post("/sign-in", data=form | {"next": "/whisper/jobs?q=a"}, headers=headers)
    elsewhere = client.post("/sign-in", data=form | {"next": "/other"}, headers=headers)
    around = client.post("/sign-in", data=form | {"next": "/whisper/sign-in"}, headers=headers)

    assert sent_away.headers["Location"] == "/whisper/sign-in?next=/whisper/jobs?q%3Da"
    assert back.headers["Location"] == "/whisper/jobs?q=a"
    assert elsewhere.headers["Location"] == around.headers["Location"] == "/whisper/"
    cookie = back.headers["Set-Cookie"]
    assert "Path=/whisper" in cookie and "Secure" in cookie


def test_description_names_where_the_service_is(proxied: FlaskClient) -> None:
    below = proxied.get("/openapi.json", headers={"X-Forwarded-Prefix": "/whisper"})

    assert below.json["servers"] == [{"url": "/whisper"}]
    assert proxied.get("/openapi.json").json["servers"] == [{"url": "/"}]
