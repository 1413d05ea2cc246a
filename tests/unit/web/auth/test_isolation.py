"""Two users with keys: by no route, method or parameter does one see or change what is the other's."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from fakes import FakeApplication, make_application
from transcriber.domain.jobs import JobStatus
from transcriber.domain.keys import Role
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.formats.table import DOWNLOADS
from transcriber.jobs.ids import new_job_id
from transcriber.web import create_app
from uploading import BROWSER, post_file

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUESTS = 3000


@dataclass
class Team:
    """Alice has a job in each status and an upload; Bob has nothing."""

    application: FakeApplication
    app: Flask
    alice: dict[str, str]
    bob: dict[str, str]
    admin: dict[str, str]
    job_ids: list[str]
    upload_id: str

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def state(self) -> str:
        """Everything of Alice's that a request could change."""
        service = self.application.service
        jobs = [(service.jobs[one], service.results.get(one)) for one in self.job_ids]
        edits = [repr(service.transcripts.get(one)) for one in self.job_ids if one in service.results]
        return repr(
            (
                jobs,
                edits,
                service.resumable.get(self.upload_id),
                [(key.name, key.revoked_at) for key in self.application.keys.all()],
            )
        )


@pytest.fixture
def team(tmp_path: Path) -> Team:
    application = make_application(tmp_path / "spool", WHISPER_API_KEY="first")
    service = application.service
    service.stop()  # streams end after what there is
    headers = {}
    owners = {}
    for name in ("alice", "bob"):
        key, secret = application.keys.add(name, Role.USER)
        owners[name], headers[name] = key.id, {"Authorization": f"Bearer {secret}"}
    job_ids = []
    for status in JobStatus:
        job = service.add_job(new_job_id(), REQUEST, owner=owners["alice"], file_name="alices secret.wav")
        service.say(job.id, " a secret word")
        if status is JobStatus.SUCCEEDED:
            service.finish(job.id)
        else:
            service.jobs[job.id] = service.jobs[job.id].evolve(status=status)
        job_ids.append(job.id)
    upload = service.resumable.create(10, "alices secret.wav", key_id=owners["alice"])
    return Team(
        application=application,
        app=create_app(application),  # type: ignore[arg-type]
        alice=headers["alice"],
        bob=headers["bob"],
        admin={"Authorization": "Bearer first"},
        job_ids=job_ids,
        upload_id=upload.id,
    )


def rules_about_something(app: Flask) -> list[Rule]:
    """Routes whose address names a job or an upload."""
    return [rule for rule in app.url_map.iter_rules() if rule.arguments & {"job_id", "upload_id"}]


def addresses(team: Team) -> Iterator[tuple[str, str]]:
    """Every address of such a route for everything that is Alice's, with every method."""
    adapter = team.app.url_map.bind("localhost")
    for rule in rules_about_something(team.app):
        values: dict[str, list[str]] = {"job_id": team.job_ids, "upload_id": [team.upload_id]}
        values["ending"] = [*DOWNLOADS, "nothing"]
        names = sorted(rule.arguments)
        for chosen in itertools.product(*(values[name] for name in names)):
            path = adapter.build(rule.endpoint, dict(zip(names, chosen, strict=True)))
            for method in METHODS:
                yield method, path


def variants(method: str, path: str, chance: random.Random) -> dict[str, Any]:
    """One of the ways in which a client may send it."""
    return {
        "method": method,
        "path": path,
        "headers": chance.choice(
            [
                {},
                {"Accept": BROWSER},
                {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"},
                {"If-Match": "*"},
                {"Origin": "http://localhost"},
                {"Origin": "https://evil.example"},
                {"X-HTTP-Method-Override": "DELETE"},
                {"Range": "bytes=0-1"},
                {"Last-Event-ID": "0"},
            ]
        ),
        "query_string": chance.choice(["", "purge=true", "original=true", "last_event_id=0", "access=1"]),
        "json": chance.choice([None, {"title": "stolen"}, {"segments": []}]),
    }


def test_no_route_lets_one_user_see_or_change_what_is_the_others(team: Team) -> None:
    before = team.state()
    chance = random.Random(14)
    known = list(addresses(team))
    tried = 0
    assert len(rules_about_something(team.app)) > 12
    while tried < REQUESTS:
        for method, path in known:
            sent = variants(method, path, chance)
            answer = team.client.open(**sent | {"headers": sent["headers"] | team.bob})
            tried += 1
            assert answer.status_code == 404, (sent, answer.status_code)
            assert "secret" not in answer.text
            assert answer.status_code == nobodys(team, sent).status_code
    assert team.state() == before


#: What stands in for the other arguments of routes.
ARGUMENTS = {"model_id": "base", "filename": "style.css", "key_name": "alice"}


def test_no_other_route_does_either_whatever_is_sent_along(team: Team) -> None:
    """The routes that name nobody's job: Alice's ids come as parameters, under every name that one could have."""
    before = team.state()
    chance = random.Random(15)
    adapter = team.app.url_map.bind("localhost")
    others = [rule for rule in team.app.url_map.iter_rules() if rule not in rules_about_something(team.app)]
    for rule, method in itertools.product(others, METHODS):
        path = adapter.build(rule.endpoint, {name: ARGUMENTS[name] for name in rule.arguments})
        for one in (*team.job_ids, team.upload_id):
            named = dict.fromkeys(("job", "job_id", "id", "upload", "upload_id", "q"), one)
            sent = variants(method, path, chance) | {"query_string": named}
            if method in ("POST", "PUT", "PATCH") and chance.random() < 0.5:
                sent = {name: value for name, value in sent.items() if name != "json"} | {"data": named}
            with team.client.open(**sent | {"headers": sent["headers"] | team.bob}) as answer:
                assert "alices secret" not in answer.text and "secret word" not in answer.text, sent
    assert team.state() == before


def nobodys(team: Team, sent: dict[str, Any]) -> TestResponse:
    """The same of something that is not there: no answer tells the two apart."""
    path = sent["path"]
    for one in (*team.job_ids, team.upload_id):
        path = path.replace(one, "job_" + "z" * 24)
    return team.client.open(**sent | {"path": path, "headers": sent["headers"] | team.bob})


def test_lists_searches_and_counts_are_of_ones_own(team: Team) -> None:
    post_file_as(team, team.bob)

    for query in ("", "?q=secret", "?q=Ask", "?status=succeeded"):
        page = team.client.get(f"/jobs{query}", headers=team.bob).json
        assert {job["file_name"] for job in page["jobs"]} <= {"speech.wav"}
        assert sum(page["counts"].values()) == 1
    assert "secret" not in team.client.get("/jobs", headers=team.bob | {"Accept": BROWSER}).text
    assert len(team.client.get("/jobs", headers=team.alice).json["jobs"]) == len(JobStatus)
    assert len(team.client.get("/jobs", headers=team.admin).json["jobs"]) == len(JobStatus) + 1


def test_parameters_that_name_a_job_or_an_upload_find_only_ones_own(team: Team) -> None:
    succeeded = team.job_ids[2]
    compared = team.client.get(f"/compare?job={succeeded}&job={team.job_ids[0]}", headers=team.bob)
    taken = team.client.post("/jobs", data={"upload": team.upload_id}, headers=team.bob)

    assert (compared.status_code, taken.status_code) == (404, 404)


def test_idempotency_keys_are_ones_own(team: Team) -> None:
    first = post_file_as(team, team.alice, "same")
    second = post_file_as(team, team.bob, "same")
    again = post_file_as(team, team.bob, "same")

    assert first.json["job_id"] != second.json["job_id"]
    assert again.json["job_id"] == second.json["job_id"]


def test_re_send_does_not_find_anothers_job(team: Team) -> None:
    answers = [
        post_file(
            team.client,
            field="file",
            path="/v1/audio/transcriptions",
            environ={f"HTTP_{name.upper()}": value for name, value in who.items()}
            | {"HTTP_X_STAINLESS_RETRY_COUNT": "1"},
        )
        for who in (team.alice, team.bob)
    ]

    assert answers[0].json["job_id"] != answers[1].json["job_id"]


def test_owner_sees_and_changes_its_own(team: Team) -> None:
    succeeded = next(
        one for one in team.job_ids if team.application.service.jobs[one].status is JobStatus.SUCCEEDED
    )

    assert team.client.get(f"/jobs/{succeeded}", headers=team.alice).json["text"] == "a secret word"
    assert team.client.delete(f"/jobs/{succeeded}?purge=true", headers=team.alice).status_code == 204
    assert team.client.get(f"/uploads/{team.upload_id}", headers=team.alice).status_code == 200


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        (Role.USER, "POST", "/models/base/unload", 403),
        (Role.USER, "POST", "/diagnostics/selftest", 403),
        (Role.USER, "GET", "/diagnostics", 403),
        (Role.USER, "GET", "/metrics", 403),
        (Role.USER, "GET", "/keys", 403),
        (Role.USER, "POST", "/keys", 403),
        (Role.USER, "GET", "/models", 200),
        (Role.METRICS, "GET", "/metrics", 200),
        (Role.METRICS, "GET", "/diagnostics", 200),
        (Role.METRICS, "GET", "/jobs", 403),
        (Role.METRICS, "POST", "/transcribe", 403),
        (Role.METRICS, "GET", "/v1/models", 403),
        (Role.ADMIN, "GET", "/keys", 200),
        (Role.ADMIN, "GET", "/diagnostics", 200),
    ],
)
def test_roles(team: Team, role: Role, method: str, path: str, status: int) -> None:
    _, secret = team.application.keys.add("somebody", role)

    answer = team.client.open(path, method=method, headers={"Authorization": f"Bearer {secret}"})

    assert answer.status_code == status


def test_revoked_key_ends_its_browser_session(team: Team) -> None:
    browser = team.app.test_client()
    secret = team.alice["Authorization"].removeprefix("Bearer ")
    browser.post("/sign-in", data={"key": secret}, headers={"Accept": BROWSER, "Origin": "http://localhost"})
    assert len(browser.get("/jobs").json["jobs"]) == len(JobStatus)

    team.application.keys.revoke("alice")

    assert browser.get("/jobs").status_code == 401


def test_keys_page_shows_a_new_key_once_and_revokes_it(team: Team) -> None:
    made = team.client.post("/keys", data={"name": "carol", "max_jobs": "2"}, headers=team.admin)
    key = made.json["key"]
    carol = {"Authorization": f"Bearer {key}"}

    assert made.status_code == 201
    assert team.client.get("/jobs", headers=carol).status_code == 200
    listed = team.client.get("/keys", headers=team.admin)
    assert key not in listed.text
    assert [one["name"] for one in listed.json["keys"]] == ["alice", "bob", "carol"]
    assert "carol" in team.client.get("/keys", headers=team.admin | {"Accept": BROWSER}).text
    assert team.client.post("/keys/carol/revoke", headers=team.admin).json["state"] == "revoked"
    assert team.client.get("/jobs", headers=carol).status_code == 401


def test_nobody_manages_keys_over_a_network_without_one(tmp_path: Path) -> None:
    application = make_application(tmp_path / "spool", WHISPER_HOST="0.0.0.0", WHISPER_ALLOW_ANONYMOUS="true")
    client = create_app(application).test_client()  # type: ignore[arg-type]

    assert client.get("/jobs").status_code == 200
    assert client.post("/keys", data={"name": "mine", "role": "admin"}).status_code == 403


def post_file_as(team: Team, who: dict[str, str], key: str | None = None) -> TestResponse:
    environ = {f"HTTP_{name.upper()}": value for name, value in who.items()}
    return post_file(team.client, key=key, environ=environ)


def test_stream_ends_when_its_key_is_revoked(team: Team) -> None:
    service = team.application.service
    service.resume()
    job = service.add_job(new_job_id(), REQUEST, owner=service.jobs[team.job_ids[0]].owner)
    service.start(job.id)
    answer = team.client.get(f"/jobs/{job.id}/stream", headers=team.alice, buffered=False)
    lines = iter(answer.response)
    service.say(job.id, " before")
    while b" before" not in (line := next(lines)):
        assert line

    team.application.keys.revoke("alice")
    service.say(job.id, " after")

    assert b" after" not in b"".join(lines)
    assert team.client.get(f"/jobs/{job.id}/stream", headers=team.alice).status_code == 401
