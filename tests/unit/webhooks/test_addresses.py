from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcriber.webhooks.addresses import is_allowed, is_public, parse_networks, unwrap
from webhook_addresses import FORBIDDEN_ADDRESSES, PUBLIC_ADDRESSES


@pytest.mark.parametrize("text", FORBIDDEN_ADDRESSES)
def test_address_that_is_no_host_of_the_internet_is_not_allowed(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_host_of_the_internet_is_allowed(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_we_are_never_laxer_than_python(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    real = unwrap(address)

    assert real.is_global or not is_public(address)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::", "::ffff:", "::ffff:0:", "64:ff9b::"]))
def test_wrapped_address_is_judged_as_what_it_carries(number: int, prefix: str) -> None:
    carried = ipaddress.IPv4Address(number)
    wrapped = ipaddress.IPv6Address(f"{prefix}{carried}")

    assert is_public(wrapped) == is_public(carried)


def test_networks_of_the_operator_are_allowed_and_no_others() -> None:
    networks = parse_networks(["127.0.0.0/8", "fd12::/16"])

    allowed = [text for text in FORBIDDEN_ADDRESSES if is_allowed(ipaddress.ip_address(text), networks)]

    assert "127.0.0.1" in allowed and "::ffff:127.0.0.1" in allowed
    assert {str(unwrap(ipaddress.ip_address(text))).partition(".")[0] for text in allowed} == {"127"}
    assert is_allowed(ipaddress.ip_address("fd12::7"), networks)
    assert not is_allowed(ipaddress.ip_address("fd13::7"), networks)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "intranet", ""])
def test_text_that_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="network|address|host bits"):
        parse_networks([text])
