"""Host, Origin and key guards, and the headers that every answer carries."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from transcriber.web.auth.security import HostRule, is_same_origin
from uploading import BROWSER, post_file

KEY = "a long random key"


@pytest.fixture
def guarded(build_client: Callable[..., FlaskClient]) -> FlaskClient:
    """An installation with a key."""
    return build_client(WHISPER_API_KEY=KEY)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "LOCALHOST."]
)
def test_loopback_names_are_served(client: FlaskClient, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.5"]
)
@pytest.mark.parametrize("path", ["/", "/health", "/transcribe", "/static/style.css", "/nothing"])
def test_foreign_host_is_421(client: FlaskClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})

    assert answer.status_code == 421
    assert answer.json["error"]["code"] == "host_not_allowed"


def test_named_host_is_served(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_ALLOWED_HOSTS="speech.example, other.example")

    assert client.get("/health", headers={"Host": "Speech.Example:8443"}).status_code == 200


def test_star_answers_for_all_hosts(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_ALLOWED_HOSTS="*")

    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.parametrize(
    ("listening", "host", "allowed"),
    [
        ("0.0.0.0", "10.0.0.5:5000", True),
        ("0.0.0.0", "[fd00::5]:5000", True),
        ("0.0.0.0", "evil.example", False),
        ("::", "192.168.1.2", True),
        ("127.0.0.1", "192.168.1.2", False),
        ("192.168.1.2", "192.168.1.2:5000", True),
        ("192.168.1.2", "192.168.1.3:5000", False),
        ("127.0.0.1", "", True),
        ("127.0.0.1", "127.0.0.1:", True),
        ("127.0.0.1", "127.0.0.1:80@evil.com", False),
        ("127.0.0.1", "[::1]evil.com", False),
        ("127.0.0.1", "[::1]:80@evil.com", False),
        ("127.0.0.1", "[localhost]", False),
        ("127.0.0.1", "localhost/evil.com", False),
        ("127.0.0.1", "localhost:80:80", False),
        ("127.0.0.1", "localhost evil.com", False),
        ("127.0.0.1", "localhost,evil.com", False),
        ("::1", "[::1]:5000", True),
        ("my_host", "my_host:5000", True),
    ],
)
def test_addresses_are_allowed_where_the_service_listens_on_all(
    listening: str, host: str, allowed: bool
) -> None:
    assert HostRule.build(listening, ()).allows(host) is allowed


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "garbage"},
        {"Origin": "http://localhost:99999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
        {"Cookie": "session=1"},
    ],
)
def test_request_of_another_site_is_403(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/transcribe", headers=headers)

    assert answer.status_code == 403
    assert answer.json["error"]["code"] == "origin_not_allowed"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin", "Cookie": "a=b"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_request_of_our_page_or_of_curl_passes(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/transcribe", headers=headers).json["error"]["code"] == "missing_audio"


@pytest.mark.parametrize(
    "headers",
    [{"Cookie": "AWSALB=x"}, {"Cookie": "__cf_bm=x; transcriber_session=stale"}, {"Origin": "app://desktop"}],
)
def test_key_in_the_header_suffices_whatever_comes_along(
    guarded: FlaskClient, headers: dict[str, str]
) -> None:
    right = guarded.post("/transcribe", headers={"Authorization": f"Bearer {KEY}"} | headers)
    wrong = guarded.post("/transcribe", headers={"Authorization": "Bearer wrong"} | headers)

    assert right.json["error"]["code"] == "missing_audio"
    assert wrong.json["error"]["code"] == "unauthorized"


def test_password_that_browsers_send_on_their_own_does_not_vouch_for_the_page(guarded: FlaskClient) -> None:
    basic = "Basic " + base64.b64encode(f":{KEY}".encode()).decode()

    answer = guarded.post("/transcribe", headers={"Authorization": basic, "Origin": "https://evil.example"})

    assert answer.json["error"]["code"] == "origin_not_allowed"


def test_reading_is_open_to_links_from_elsewhere(client: FlaskClient) -> None:
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}

    assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://speech.example", "speech.example", True),
        ("https://speech.example", "speech.example", True),
        ("https://speech.example", "speech.example:443", True),
        ("http://speech.example:80", "speech.example", True),
        ("http://speech.example:8080", "speech.example", False),
        ("http://[::1]:5000", "[::1]:5000", True),
        ("http://SPEECH.example", "speech.EXAMPLE", True),
        ("file://", "", False),
        ("ftp://speech.example:5000", "speech.example:5000", False),
        ("http://user@speech.example", "speech.example", False),
        ("http://user:secret@speech.example", "speech.example", False),
        ("http://@speech.example", "speech.example", False),
        ("http://speech.example/", "speech.example", False),
        ("http://speech.example/page", "speech.example", False),
        ("http://speech.example?", "speech.example", False),
    ],
)
def test_same_origin(origin: str, host: str, same: bool) -> None:
    assert is_same_origin(origin, host) is same


def test_page_that_came_by_http_is_another_site_than_https() -> None:
    assert is_same_origin("https://speech.example", "speech.example", is_secure=True)
    assert not is_same_origin("http://speech.example", "speech.example", is_secure=True)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", basic(KEY)])
def test_key_opens_as_bearer_and_as_basic_password(guarded: FlaskClient, header: str) -> None:
    assert guarded.get("/diagnostics", headers={"Authorization": header}).status_code == 200


def test_key_may_hold_equals_signs(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_API_KEY="abc=def=ghi, jkl=mno")

    answer = client.get("/diagnostics", headers={"Authorization": "Bearer abc=def=ghi, jkl=mno"})

    assert answer.status_code == 200


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=b"])
def test_broken_form_of_a_key_is_refused(client: FlaskClient, content_type: str) -> None:
    answer = client.post("/keys", data=b"x", headers={"Content-Type": content_type})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "header",
    [None, "Bearer wrong", "Bearer ", basic("wrong"), "Basic ???", f"Token {KEY}", "Bearer schlüssel"],
)
def test_no_key_or_a_wrong_one_is_401_with_a_challenge(guarded: FlaskClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = guarded.get("/diagnostics", headers=headers)

    assert answer.status_code == 401
    assert answer.json["error"]["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")


def test_key_with_other_letters_works(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_API_KEY="schlüssel")
    as_sent = "schlüssel".encode().decode("latin-1")

    assert client.get("/", headers={"Authorization": f"Bearer {as_sent}"}).status_code == 200
    assert client.get("/", headers={"Authorization": basic("schlüssel")}).status_code == 200


OPEN = {
    "/health",
    "/health/live",
    "/health/ready",
    "/language",
    "/favicon.ico",
    "/static/x",
}


def test_every_route_but_health_and_signing_in_needs_the_key(app: Flask, guarded: FlaskClient) -> None:
    paths = {
        re.sub(r"<[^>]+>", "x", rule.rule): "POST" if "POST" in (rule.methods or ()) else "GET"
        for rule in app.url_map.iter_rules()
    }

    answered = set()
    for path, method in paths.items():
        with guarded.open(path, method=method) as answer:
            if answer.status_code != 401:
                answered.add(path)

    assert answered == OPEN  # /sign-in is open, too; that is its word for a wrong key


def test_unknown_route_without_key_is_401(guarded: FlaskClient) -> None:
    assert guarded.get("/nothing").status_code == 401


def test_health_without_key_has_no_details(guarded: FlaskClient) -> None:
    assert guarded.get("/health").json == {"status": "ok"}
    assert guarded.get("/health/ready").json == {"status": "degraded"}
    with_key = guarded.get("/health/ready", headers={"Authorization": f"Bearer {KEY}"})
    assert with_key.json["gpu_policy"] == "preferred"


def test_key_is_in_no_page(guarded: FlaskClient) -> None:
    for path in ("/", "/diagnostics"):
        for accept in (BROWSER, "application/json"):
            answer = guarded.get(path, headers={"Authorization": f"Bearer {KEY}", "Accept": accept})
            assert answer.status_code == 200
            assert KEY not in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/diagnostics", "/health", "/nothing", "/static/style.css", "/transcribe"]
)
def test_every_answer_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    with client.get(path, headers={"Accept": BROWSER}) as answer:
        headers = answer.headers

    policy = headers["Content-Security-Policy"]
    for rule in (
        "default-src 'self'",
        "script-src 'self' 'nonce-",
        "style-src 'self' 'nonce-",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ):
        assert rule in policy
    assert "unsafe-inline" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["X-Request-ID"]


def test_nonce_of_the_page_is_that_of_the_header_and_fresh(client: FlaskClient) -> None:
    nonces = set()
    for _ in range(2):
        answer = client.get("/")
        nonce = re.search(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"])
        assert nonce is not None
        assert f'nonce="{nonce[1]}"' in answer.text
        nonces.add(nonce[1])
    assert len(nonces) == 2


def test_job_data_is_never_cached(client: FlaskClient) -> None:
    answer = post_file(client)

    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(f"/jobs/{answer.json['job_id']}").headers["Cache-Control"] == "no-store"


def test_sane_request_id_is_kept(client: FlaskClient) -> None:
    assert (
        client.get("/health", headers={"X-Request-ID": "abc-123.x_Y"}).headers["X-Request-ID"]
        == "abc-123.x_Y"
    )


@pytest.mark.parametrize("given", ["", "x", "a b c d", "x" * 65, "abc\u00e9def", '{"a":1}', "../../etc"])
def test_other_request_ids_are_replaced(client: FlaskClient, given: str) -> None:
    made = client.get("/health", headers={"X-Request-ID": given}).headers["X-Request-ID"]

    assert re.fullmatch(r"[0-9a-f]{16}", made)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("a.example.org", True),
        ("a.b.example.org:5443", True),
        ("example.org", False),
        ("badexample.org", False),
        ("example.org.evil.example", False),
    ],
)
def test_host_with_a_star_stands_for_every_name_below(host: str, allowed: bool) -> None:
    assert HostRule.build("127.0.0.1", ("*.example.org",)).allows(host) is allowed
