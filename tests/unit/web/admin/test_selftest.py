"""POST /diagnostics/selftest, for programs and from the page's button."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from jsonschema_rs import validator_for

from fakes import FakeApplication
from uploading import BROWSER


def test_program_gets_device_type_steps_and_times(client: FlaskClient) -> None:
    answer = client.post("/diagnostics/selftest")

    body = answer.json
    assert answer.status_code == 200
    assert body is not None
    assert (body["outcome"], body["device"], body["compute_type"]) == ("passed", "cpu", "int8_float32")
    assert {step["name"]: step["outcome"] for step in body["steps"]}["computed"] == "passed"
    assert (body["seconds"], body["run_seconds"]) == (0.5, 0.4)
    document = client.get("/openapi.json").json
    assert document is not None
    schema = {"$ref": "#/components/schemas/SelfTestAnswer", "components": document["components"]}
    validator_for(schema).validate(body)


@pytest.mark.parametrize(
    ("outcome", "status"), [("passed", 200), ("skipped", 200), ("slow", 503), ("failed", 503)]
)
def test_status_says_whether_it_is_well(
    client: FlaskClient, application: FakeApplication, outcome: str, status: int
) -> None:
    application.finding = {"outcome": outcome, "report": None if outcome == "skipped" else None}

    answer = client.post("/diagnostics/selftest")

    assert (answer.status_code, answer.json and answer.json["outcome"]) == (status, outcome)


def test_device_can_be_chosen_and_nothing_else(client: FlaskClient) -> None:
    chosen, wrong = (
        client.post("/diagnostics/selftest?device=cuda"),
        client.post("/diagnostics/selftest?device=tpu"),
    )

    assert chosen.json is not None and wrong.json is not None
    assert (chosen.status_code, chosen.json["device"]) == (200, "cuda")
    assert (wrong.status_code, wrong.json["error"]["param"]) == (422, "device")


def test_button_works_without_scripts(client: FlaskClient, application: FakeApplication) -> None:
    headers = {"Accept": BROWSER, "Origin": "http://localhost"}
    assert (
        '<form method="post" action="/diagnostics/selftest">'
        in client.get("/diagnostics", headers={"Accept": BROWSER}).text
    )

    answer = client.post("/diagnostics/selftest", headers=headers)
    page = client.get(answer.headers["Location"], headers={"Accept": BROWSER}).text

    assert answer.status_code == 303
    assert len(application.findings) == 1
    assert 'data-selftest="passed"' in page
    assert "difference: 0.04" in page


def test_page_of_another_site_tests_nothing(client: FlaskClient, application: FakeApplication) -> None:
    answer = client.post("/diagnostics/selftest", headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert application.findings == []


def test_looking_is_not_testing(client: FlaskClient, application: FakeApplication) -> None:
    assert client.get("/diagnostics/selftest").status_code == 405
    assert application.findings == []
