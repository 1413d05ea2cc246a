"""What counts as wrong when every route is asked."""

from __future__ import annotations

import httpx2

from transcriber.cli.route_check import RouteCheck


def check_of(status: int, **body: object) -> RouteCheck:
    """A check against a server that answers everything alike."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, json=body))
    return RouteCheck(httpx2.Client(base_url="http://server", transport=transport))


def test_expected_status_is_right_and_the_route_is_noted() -> None:
    check = check_of(200)

    check.ask("GET /jobs/{job_id}", [200], path="/jobs/1")

    assert check.wrong == []
    assert check.asked == {"GET /jobs/{job_id}": [200]}


def test_another_status_is_wrong() -> None:
    check = check_of(500)

    check.ask("GET /new", range(200, 500))

    assert check.wrong == ["GET /new: 500 '{}'; expected " + str(list(range(200, 500)))]


def test_refusal_needs_a_code_and_a_message() -> None:
    silent, clear = check_of(404, error="no"), check_of(404, error={"code": "not_found", "message": "No."})

    silent.ask("GET /x", [404])
    clear.ask("GET /x", [404])

    assert len(silent.wrong) == 1
    assert clear.wrong == []


def test_server_that_is_gone_is_wrong() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    check = RouteCheck(httpx2.Client(base_url="http://server", transport=httpx2.MockTransport(refuse)))
    check.ask("GET /x", [200])

    assert check.wrong[0] == "GET /x: ConnectError refused"
