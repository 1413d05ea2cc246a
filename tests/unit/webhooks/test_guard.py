from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence

import pytest

from transcriber.domain.errors import InvalidParameterError
from transcriber.webhooks.guard import AddressNotAllowedError, Guard, Resolve
from transcriber.webhooks.targets import parse_target
from webhook_addresses import FORBIDDEN_ADDRESSES, ODD_HOSTS, PUBLIC_ADDRESSES, url_of

TARGET = parse_target("https://hooks.example.com/a")


def answering(*texts: str) -> Resolve:
    return lambda name, port: texts


def never(name: str, port: int) -> Sequence[str]:
    raise AssertionError(f"{name} was resolved")


@pytest.mark.parametrize("host", [*FORBIDDEN_ADDRESSES, *ODD_HOSTS])
def test_host_that_can_never_be_allowed_is_refused_at_submission(host: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Guard(resolve=never).check_url(url_of(host))

    assert caught.value.param == "webhook_url" and caught.value.fix


@pytest.mark.parametrize("host", [*PUBLIC_ADDRESSES, "hooks.example.com", "intranet"])
def test_other_hosts_are_taken_and_no_name_is_resolved_at_submission(host: str) -> None:
    Guard(resolve=never).check_url(url_of(host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "db.localhost", "::ffff:127.0.0.1"])
def test_operator_can_allow_receivers_of_his_own(host: str) -> None:
    Guard(["127.0.0.0/8"]).check_url(url_of(host))


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "0x7f.1", "2130706433", "169.254.169.254"])
def test_allowing_one_network_allows_no_other_and_no_odd_spelling(host: str) -> None:
    with pytest.raises(InvalidParameterError):
        Guard(["127.0.0.0/8"]).check_url(url_of(host))


def test_refusal_of_a_private_receiver_names_the_setting() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Guard().check_url("http://192.168.1.5/hook")

    assert "WHISPER_WEBHOOK_ALLOW_CIDR" in caught.value.fix


def test_only_allowed_addresses_are_connected_to_each_once() -> None:
    guard = Guard(resolve=answering("10.0.0.1", "8.8.8.8", "::1", "8.8.8.8", "2606:4700::1"))

    found = guard.addresses(TARGET, 5)

    assert found == (ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("2606:4700::1"))


@pytest.mark.parametrize("text", FORBIDDEN_ADDRESSES)
def test_name_with_a_forbidden_address_is_refused(text: str) -> None:
    with pytest.raises(AddressNotAllowedError):
        Guard(resolve=answering(text)).addresses(TARGET, 5)


def test_address_in_the_url_is_judged_too_and_needs_no_resolver() -> None:
    guard = Guard(resolve=never)

    assert guard.addresses(parse_target("http://8.8.8.8/"), 5) == (ipaddress.ip_address("8.8.8.8"),)
    with pytest.raises(AddressNotAllowedError):
        guard.addresses(parse_target("http://10.0.0.1/"), 5)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_name_without_an_address_is_an_error_of_the_network(error: Exception) -> None:
    def resolve(name: str, port: int) -> Sequence[str]:
        raise error

    with pytest.raises(socket.gaierror):
        Guard(resolve=resolve).addresses(TARGET, 5)


def test_resolver_that_takes_too_long_is_left() -> None:
    release = threading.Event()

    def resolve(name: str, port: int) -> Sequence[str]:
        release.wait(10)
        return ("8.8.8.8",)

    with pytest.raises(TimeoutError):
        Guard(resolve=resolve).addresses(TARGET, 0.05)
    release.set()
