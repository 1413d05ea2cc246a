"""Which IP addresses belong to the internet, and which are reached only with the operator's word. Pure.

Our own tables: `ipaddress.is_global` is True for eight of nineteen unsafe addresses, and differs between
versions of Python.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: IPv4 that is no host of the internet (IANA's special-purpose registry), and the clouds' own services in it.
_DENIED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier NAT; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host, although the address is public
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

#: The only IPv6 that is global unicast, and what in it is not.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID …
        "2001:4:112::/48",  # AS112
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the old 6bone
        "3fff::/20",  # documentation
    )
)

#: IPv6 that carries an IPv4 address, and how far right the 32 bits of that lie.
_WRAPPINGS = tuple(
    (ipaddress.IPv6Network(text), shift)
    for text, shift in (
        ("::/96", 0),  # compatible
        ("::ffff:0:0/96", 0),  # mapped
        ("::ffff:0:0:0/96", 0),  # translated
        ("64:ff9b::/96", 0),  # NAT64
        ("2002::/16", 80),  # 6to4
    )
)

#: Interface ids of ISATAP, without the bit that says whether the IPv4 address in them is a public one.
_ISATAP = 0x5EFE
_ISATAP_MASK = 0xFDFFFFFF


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation. Raises ValueError that names the first that is none."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_allowed(address: Address, networks: Sequence[Network] = ()) -> bool:
    """Whether a message may go there: to the internet, or to one of the operator's networks."""
    real = unwrap(address)
    return _is_within(real, networks) or _is_within(address, networks) or is_public(address)


def is_public(address: Address) -> bool:
    """Whether this is the address of one host on the internet."""
    real = unwrap(address)
    if isinstance(real, ipaddress.IPv4Address):
        return not _is_within(real, _DENIED_V4)
    return real in _GLOBAL_V6 and not _is_within(real, _DENIED_V6) and not _is_isatap(real)


def unwrap(address: Address) -> Address:
    """The IPv4 address inside a mapped, compatible, translated, NAT64 or 6to4 one; any other as it is."""
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _WRAPPINGS:
            if address in network and int(address) > 1:
                return ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address


def _is_within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    return int(address) >> 32 & _ISATAP_MASK == _ISATAP
