"""Signing in with the key: the session's cookie, its end, slowed tries, and the token of changing requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fakes import FakeRegister, make_application
from transcriber.domain.keys import Principal, Role, digest_of
from transcriber.server.revoked_sessions import RevokedSessions
from transcriber.web import create_app
from transcriber.web.auth.sessions import Sessions
from transcriber.web.auth.sign_in import COOKIE, next_page
from transcriber.web.auth.throttle import (
    FREE_IN_ALL,
    FREE_TRIES,
    HELD_SECONDS,
    LONGEST_WAIT,
    MOST_HELD,
    SignInThrottle,
)
from uploading import BROWSER, post_file

ROOT = Path(__file__).parents[4]
KEY = "a long random key"
HTML = {"Accept": BROWSER}
ORIGIN = {"Origin": "http://localhost"}


class HeldTime:
    """Time that stands where a test puts it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def guarded(build_client: Callable[..., FlaskClient]) -> FlaskClient:
    """A browser before an installation with a key; it keeps cookies."""
    return build_client(WHISPER_API_KEY=KEY)


def sign_in(client: FlaskClient, key: str = KEY, goal: str = "/jobs", **headers: str) -> TestResponse:
    return client.post("/sign-in", data={"key": key, "next": goal}, headers=HTML | ORIGIN | headers)


def token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([A-Za-z0-9_-]{43})"', page)
    assert found is not None
    return found[1]


def test_browser_without_a_session_is_sent_to_sign_in_and_back(guarded: FlaskClient) -> None:
    answer = guarded.get("/jobs?status=failed", headers=HTML)

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/sign-in?next=/jobs?status%3Dfailed"
    page = guarded.get(answer.headers["Location"], headers=HTML)
    assert page.status_code == 200
    assert 'name="next" value="/jobs?status=failed"' in page.text


def test_key_opens_a_session_for_the_whole_site(guarded: FlaskClient) -> None:
    answer = sign_in(guarded)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs")
    for path in ("/", "/jobs", "/diagnostics", "/openapi.json", "/metrics", "/health/gpu"):
        assert guarded.get(path).status_code in (200, 503)
    assert guarded.get("/sign-in", headers=HTML).status_code == 303


def test_cookie_is_for_us_alone(guarded: FlaskClient) -> None:
    plain = sign_in(guarded).headers["Set-Cookie"]
    over_https = sign_in(guarded, Origin="https://localhost").headers["Set-Cookie"]

    assert plain.startswith(f"{COOKIE}=")
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Path=/" in plain
    assert "Max-Age=604800" in plain
    assert "Secure" not in plain
    assert "Secure" in over_https
    assert KEY not in plain


def test_wrong_key_is_told_to_browsers_and_programs(guarded: FlaskClient) -> None:
    for_browser = sign_in(guarded, "wrong")
    for_program = guarded.post("/sign-in", data={"key": "wrong"})

    assert for_browser.headers["Location"] == "/sign-in?next=/jobs&again="
    assert "That is not the key." in guarded.get(for_browser.headers["Location"], headers=HTML).text
    assert (for_program.status_code, for_program.json["error"]["code"]) == (401, "unauthorized")
    assert "Set-Cookie" not in for_browser.headers
    assert guarded.get("/jobs").status_code == 401


def test_key_in_an_address_opens_nothing(guarded: FlaskClient) -> None:
    assert guarded.post(f"/sign-in?key={KEY}").status_code == 401
    assert guarded.get(f"/jobs?key={KEY}").status_code == 401


def test_wrong_tries_are_slowed_and_the_right_key_too(guarded: FlaskClient) -> None:
    for _ in range(FREE_TRIES):
        assert guarded.post("/sign-in", data={"key": "wrong"}).status_code == 401

    slowed = guarded.post("/sign-in", data={"key": KEY})

    assert (slowed.status_code, slowed.json["error"]["code"]) == (429, "too_many_tries")
    assert slowed.headers["Retry-After"] == "1"
    told = guarded.get(sign_in(guarded).headers["Location"], headers=HTML)
    assert "Wait 1 seconds" in told.text
    elsewhere = guarded.post("/sign-in", data={"key": KEY}, environ_overrides={"REMOTE_ADDR": "10.0.0.9"})
    assert elsewhere.status_code == 204


def test_wait_doubles_up_to_its_limit_and_is_forgotten() -> None:
    time = HeldTime()
    tries = SignInThrottle(time)
    for _ in range(FREE_TRIES):
        assert tries.judge("a", is_right=False) == 0
    waits = []
    for _ in range(10):
        waits.append(tries.judge("a", is_right=True))
        time.seconds += waits[-1]
        assert tries.judge("a", is_right=False) == 0
    assert waits == [1, 2, 4, 8, 16, 32, *[LONGEST_WAIT] * 4]
    assert tries.judge("b", is_right=False) == 0

    time.seconds += 1000
    assert tries.judge("a", is_right=False) == 0

    assert tries.judge("a", is_right=False) == 0


def test_address_that_is_known_for_the_right_key_is_not_locked_out_by_others_behind_its_proxy() -> None:
    time = HeldTime()
    tries = SignInThrottle(time)
    assert tries.judge("proxy", is_right=True) == 0
    for _ in range(FREE_TRIES):
        tries.judge("proxy", is_right=False)

    assert tries.judge("proxy", is_right=False) == 1
    assert tries.judge("proxy", is_right=True) == 0
    assert tries.judge("proxy", is_right=False) == 1


def test_wrong_keys_from_many_addresses_slow_all_but_those_that_are_known() -> None:
    time = HeldTime()
    tries = SignInThrottle(time)
    tries.judge("known", is_right=True)
    for number in range(FREE_IN_ALL):
        assert tries.judge(f"guesser {number}", is_right=False) == 0

    assert tries.judge("guesser", is_right=False) == 1
    assert tries.judge("new", is_right=True) == 1
    assert tries.judge("known", is_right=True) == 0
    time.seconds += 1
    assert tries.judge("new", is_right=True) == 0


def test_guessers_all_over_the_world_get_one_more_try_a_second() -> None:
    time = HeldTime()
    tries = SignInThrottle(time)
    looked_at = 0
    for number in range(6000):
        time.seconds += 0.01
        looked_at += tries.judge(f"guesser {number}", is_right=False) == 0

    assert FREE_IN_ALL + 55 <= looked_at <= FREE_IN_ALL + 60


def test_refusal_of_a_known_address_is_held_back_for_some_at_a_time() -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) < 2 * MOST_HELD:
            tries.hold_back("proxy")

    tries = SignInThrottle(HeldTime(), pause)
    tries.judge("proxy", is_right=True)

    tries.hold_back("proxy")
    assert pauses == [HELD_SECONDS] * MOST_HELD
    tries.hold_back("stranger")
    assert len(pauses) == MOST_HELD


def test_wrong_keys_of_programs_are_slowed_and_the_right_one_too(guarded: FlaskClient) -> None:
    for _ in range(FREE_TRIES):
        assert guarded.get("/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401

    slowed = guarded.get("/jobs", headers={"Authorization": f"Bearer {KEY}"})

    assert (slowed.status_code, slowed.json["error"]["code"]) == (429, "too_many_tries")
    assert slowed.headers["Retry-After"] == "1"
    # Nor does what is open to all tell whether the key was right.
    assert (
        guarded.get("/health", headers={"Authorization": f"Bearer {KEY}"}).json == guarded.get("/health").json
    )
    elsewhere = {"REMOTE_ADDR": "10.0.0.9"}
    right = {"Authorization": f"Bearer {KEY}"}
    assert guarded.get("/jobs", headers=right, environ_overrides=elsewhere).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "page"),
    [
        ("/jobs?status=failed", "/jobs?status=failed"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("jobs", "/"),
        ("/a\nb", "/"),
        ("/sign-out", "/"),
        ("//[", "/"),
        ("/" + "a" * 2000, "/"),
    ],
)
def test_sign_in_leads_to_no_other_site(client: FlaskClient, wanted: str, page: str) -> None:
    with client.application.test_request_context("/sign-in"):
        assert next_page(wanted) == page
    with client.application.test_request_context("/sign-in", base_url="http://localhost/whisper"):
        assert next_page("/whisper/jobs?q=a") == "/whisper/jobs?q=a"
        assert next_page(wanted) == "/whisper/"


def test_without_a_key_nobody_has_to_sign_in(client: FlaskClient) -> None:
    assert client.get("/sign-in", headers=HTML).headers["Location"] == "/"
    assert "Set-Cookie" not in client.post("/sign-in", data={"key": "x"}).headers


def test_session_signed_out_opens_nothing_any_more(guarded: FlaskClient) -> None:
    sign_in(guarded)
    cookie = guarded.get_cookie(COOKIE)
    assert cookie is not None
    page = guarded.get("/", headers=HTML).text

    answer = guarded.post("/sign-out", data={"csrf_token": token_of(page)}, headers=HTML | ORIGIN)

    assert answer.headers["Location"] == "/sign-in"
    guarded.set_cookie(COOKIE, cookie.value)
    assert guarded.get("/jobs").status_code == 401


def principal_with(key: str) -> Principal:
    return Principal(name="first", role=Role.ADMIN, digest=digest_of(key))


def make_sessions(key: str = "k", **changes: Any) -> Sessions:
    """Sessions of an installation with one key."""
    values: dict[str, Any] = {
        "secret": b"s" * 32,
        "find_principal": lambda owner: None if owner else principal_with(key),
        "seconds": 60,
        "register": FakeRegister(),
    }
    return Sessions(**(values | changes))


def test_session_expires_and_is_bound_to_key_and_secret() -> None:
    time = HeldTime()
    sessions = make_sessions(now=time)
    cookie = sessions.begin(principal_with("k"))
    found = sessions.find(cookie)
    assert found is not None

    assert make_sessions(now=time).find(cookie) == found
    assert make_sessions("other", now=time).find(cookie) is None
    assert make_sessions(secret=b"t" * 32, now=time).find(cookie) is None
    time.seconds += 60
    assert sessions.find(cookie) is None


@pytest.mark.parametrize("change", [lambda c: c[:-1] + ("0" if c[-1] != "0" else "1"), lambda c: "A" + c[1:]])
def test_changed_cookie_is_no_session(change: Callable[[str], str]) -> None:
    sessions = make_sessions()

    cookie = change(sessions.begin(principal_with("k")))

    assert sessions.find(cookie) is None
    later = re.sub(r"\.[0-9]+\.", ".99999999999.", sessions.begin(principal_with("k")))
    assert sessions.find(later) is None
    assert sessions.find("") is None
    assert sessions.find("ü" * 200) is None


# The token


@pytest.mark.parametrize("given", [{}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": "ü"}])
def test_changing_request_without_the_token_is_403(guarded: FlaskClient, given: dict[str, str]) -> None:
    sign_in(guarded)

    for path in ("/uploads", "/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa/cancel", "/sign-out", "/nothing"):
        answer = guarded.post(path, headers=ORIGIN | given)
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "csrf_token_invalid")


def test_token_of_the_page_opens_as_header_and_as_field(guarded: FlaskClient) -> None:
    sign_in(guarded)
    page = guarded.get("/", headers=HTML).text
    token = token_of(page)
    assert f'<meta name="csrf-token" content="{token}">' in page
    path = "/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa/cancel"

    assert guarded.post(path, headers=ORIGIN | {"X-CSRF-Token": token}).status_code == 404
    assert guarded.post(path, headers=ORIGIN, data={"csrf_token": token}).status_code == 404


@pytest.mark.parametrize("path", ["/transcribe", "/jobs"])
def test_uploaded_form_needs_its_token_before_it_is_a_job(tmp_path: Path, path: str) -> None:
    application = make_application(tmp_path / "spool", WHISPER_API_KEY=KEY)
    client = create_app(application).test_client()
    sign_in(client)
    token = token_of(client.get("/", headers=HTML).text)
    environ = {"HTTP_ORIGIN": "http://localhost"}

    refused = post_file(client, path=path, environ=environ)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "csrf_token_invalid")
    assert application.service.jobs == {}
    assert list(application.service.spool.iterdir()) == []
    accepted = post_file(client, path=path, environ=environ, csrf_token=token)

    assert accepted.status_code in (200, 202)
    [job] = application.service.jobs.values()
    assert job.request.ignored == ()


def test_program_with_the_key_needs_no_token(guarded: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    path = "/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa/cancel"

    assert guarded.post(path, headers=headers).status_code == 404
    sign_in(guarded)
    assert guarded.post(path, headers=headers | ORIGIN).status_code == 404


def test_token_is_the_sessions_own(guarded: FlaskClient, build_client: Callable[..., FlaskClient]) -> None:
    sign_in(guarded)
    stranger = build_client(WHISPER_API_KEY=KEY)
    sign_in(stranger)

    token = token_of(stranger.get("/", headers=HTML).text)

    assert guarded.post("/uploads", headers=ORIGIN | {"X-CSRF-Token": token}).status_code == 403


def test_every_form_of_the_pages_has_the_field() -> None:
    for template in (ROOT / "templates").glob("*.html"):
        text = template.read_text()
        for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL):
            assert "csrf_field()" in form or "sign_in.sign_in" in form, (template.name, form[:100])


def test_every_script_that_changes_something_sends_the_token() -> None:
    for script in (ROOT / "static").glob("*.js"):
        text = script.read_text()
        if re.search(r"""["'](POST|PUT|PATCH|DELETE)["']""", text):
            assert "token()" in text, script.name


def test_session_that_signed_out_stays_out_over_a_restart(tmp_path: Path) -> None:
    register = RevokedSessions(tmp_path / "data" / "signed-out.json", lambda work: work())

    def start() -> Sessions:
        return make_sessions(register=register)

    sessions = start()
    left, other = sessions.begin(principal_with("k")), sessions.begin(principal_with("k"))
    found = sessions.find(left)
    assert found is not None
    sessions.end(found[0])

    assert start().find(left) is None
    assert start().find(other) is not None


@pytest.mark.parametrize("content", ["[", '{"x": Infinity}'])
def test_damaged_list_of_those_who_signed_out_stops_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "signed-out.json"
    path.write_text(content)

    assert RevokedSessions(path, lambda work: work()).read() == {}
