"""A URL of a webhook or a file, taken apart once and strictly: what was not understood is never asked. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from .addresses import Address

MAX_URL_LENGTH = 2048

_PORTS = {"http": 80, "https": 443}

#: Characters that no URL needs as they are, and that parsers disagree about.
_FORBIDDEN = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
_NAME = re.compile(r"(?=.{1,253}\.?\Z)(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
#: The last label of a spelling that a resolver reads as a number: 2130706433, 0x7f.1, 0177.0.0.1, 127.1
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)", re.IGNORECASE)


class BadUrlError(ValueError):
    """Not a URL that messages are sent to. The text says what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a message goes. `host` is a name or an address in its usual spelling, without brackets."""

    scheme: str
    host: str
    port: int
    #: Path and query, as they are sent.
    path: str
    #: The host's address where the URL has one instead of a name.
    address: Address | None

    @property
    def is_encrypted(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """The URL's parts. Raises BadUrlError."""
    if len(url) > MAX_URL_LENGTH or _FORBIDDEN.search(url):
        raise BadUrlError(
            f"up to {MAX_URL_LENGTH} printable ASCII characters (percent-encoded; names of other scripts as xn--…)"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrlError("an http or https URL with a port from 1 to 65535") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise BadUrlError("an http or https URL with a host")
    if "@" in parts.netloc:
        raise BadUrlError("a URL without user name and password")
    host, address = _parse_host(parts.hostname, in_brackets="[" in parts.netloc)
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port or _PORTS[parts.scheme],
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        address=address,
    )


def _parse_host(host: str, *, in_brackets: bool) -> tuple[str, Address | None]:
    """The host, and its address if it is one."""
    if in_brackets:
        return _parse_v6(host)
    name = host.removesuffix(".")
    if not _NAME.fullmatch(host):
        raise BadUrlError("a URL with a host name or an address")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _parse_v4(host)
    return name, None


def _parse_v4(host: str) -> tuple[str, Address]:
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        raise BadUrlError("an IPv4 address as four decimal numbers without leading zeros") from None
    return str(address), address


def _parse_v6(host: str) -> tuple[str, Address]:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise BadUrlError("an IPv6 address in brackets") from None
    if address.scope_id is not None:
        raise BadUrlError("an IPv6 address without a zone")
    return str(address), address
