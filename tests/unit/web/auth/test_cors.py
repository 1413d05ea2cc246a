"""Pages of other origins: none by default, those of the setting with a key in the header."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from uploading import BROWSER

OBSIDIAN = "app://obsidian.md"
PREFLIGHT = {
    "Origin": OBSIDIAN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    "Sec-Fetch-Site": "cross-site",
}
PATH = "/v1/audio/transcriptions"


@pytest.fixture
def opened(build_client: Callable[..., FlaskClient]) -> FlaskClient:
    return build_client(WHISPER_CORS_ORIGINS=f"https://a.example,{OBSIDIAN}", WHISPER_API_KEY="right")


def test_no_origin_is_allowed_by_default(client: FlaskClient) -> None:
    preflight = client.options(PATH, headers=PREFLIGHT)
    request = client.post("/v1/audio/transcriptions", headers={"Origin": OBSIDIAN})

    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert request.status_code == 403
    assert "Access-Control-Allow-Origin" not in request.headers


@pytest.mark.parametrize("path", [PATH, "/jobs", "/uploads", "/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_preflight_needs_no_key_and_is_answered_in_full(opened: FlaskClient, path: str) -> None:
    answer = opened.options(path, headers=PREFLIGHT)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == OBSIDIAN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type, x-stainless-lang"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.vary


def test_preflight_of_another_origin_gets_no_leave(opened: FlaskClient) -> None:
    answer = opened.options(PATH, headers=PREFLIGHT | {"Origin": "https://evil.example"})

    assert answer.status_code == 401
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_page_with_the_key_may_ask_and_read(opened: FlaskClient) -> None:
    headers = {"Origin": OBSIDIAN, "Authorization": "Bearer right", "Sec-Fetch-Site": "cross-site"}

    answer = opened.post(PATH, headers=headers)

    assert answer.json["error"]["code"] == "missing_audio"
    assert answer.headers["Access-Control-Allow-Origin"] == OBSIDIAN
    assert "X-Gpu-Used" in answer.headers["Access-Control-Expose-Headers"]


def test_refusal_can_be_read_too(opened: FlaskClient) -> None:
    answer = opened.get("/v1/models", headers={"Origin": OBSIDIAN, "Authorization": "Bearer wrong"})

    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == OBSIDIAN


def test_cookie_of_a_signed_in_browser_does_not_count_from_elsewhere(opened: FlaskClient) -> None:
    opened.post("/sign-in", data={"key": "right"}, headers={"Accept": BROWSER, "Origin": "http://localhost"})
    assert opened.get("/jobs").status_code == 200

    assert opened.get("/jobs", headers={"Origin": OBSIDIAN}).status_code == 401


def test_star_allows_every_page_that_brings_the_key(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_CORS_ORIGINS="*", WHISPER_API_KEY="right")
    headers = {"Origin": "https://any.example", "Authorization": "Bearer right"}

    assert client.options(PATH, headers=PREFLIGHT).status_code == 204
    assert client.post(PATH, headers=headers).status_code == 400


def test_star_without_any_key_allows_nobody(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_CORS_ORIGINS="*")

    assert client.post(PATH, headers={"Origin": "https://any.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["https://a.example/path", "a.example", "https://"])
def test_setting_takes_origins_only(build_client: Callable[..., FlaskClient], origin: str) -> None:
    with pytest.raises(Exception, match="WHISPER_CORS_ORIGINS"):
        build_client(WHISPER_CORS_ORIGINS=origin)
