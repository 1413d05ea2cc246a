"""The guard against URLs that reach into the operator's own network (SSRF): of webhooks, and of files to fetch.

A URL is judged twice: by its spelling when a job is submitted, and before every try by the addresses that its
name has at that moment. The connection uses these addresses, without asking a resolver again.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

from ..domain.errors import InvalidParameterError
from .addresses import Address, is_allowed, parse_networks
from .targets import BadUrlError, Target, parse_target

#: From a name and a port to the addresses in the order in which to try them. Raises OSError.
Resolve = Callable[[str, int], Sequence[str]]

_OWN_NETWORK_FIX = (
    "Send the address of a receiver on the internet. For one on the service's own network the operator sets "
    "WHISPER_WEBHOOK_ALLOW_CIDR."
)


class AddressNotAllowedError(Exception):
    """None of the target's addresses may be connected to."""


def system_addresses(name: str, port: int) -> list[str]:
    """What the system's resolver says. Under gevent this runs in the hub's own pool of threads."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


class Guard:
    """Says which targets may be connected to. `allow_cidrs`: the operator's networks besides the internet."""

    def __init__(self, allow_cidrs: Sequence[str] = (), *, resolve: Resolve = system_addresses) -> None:
        """Raises ValueError for a text that is no network in CIDR notation."""
        self._networks = parse_networks(allow_cidrs)
        self._resolve = resolve

    def check_url(self, url: str) -> None:
        """Raises InvalidParameterError for a URL that can never be delivered to. Names are not resolved here."""
        try:
            target = parse_target(url)
        except BadUrlError as error:
            raise InvalidParameterError("webhook_url", url, str(error)) from None
        if not self.may_be_allowed(target):
            raise InvalidParameterError(
                "webhook_url", url, "a receiver on the internet", fix=_OWN_NETWORK_FIX
            )

    def addresses(self, target: Target, timeout: float) -> tuple[Address, ...]:
        """The addresses to connect to, resolved now and once.

        Raises AddressNotAllowedError when none is allowed, OSError when the name has none, TimeoutError.
        """
        if target.address is not None:
            found: tuple[Address, ...] = (target.address,)
        else:
            found = self._resolved(target.host, target.port, timeout)
        allowed = tuple(address for address in found if is_allowed(address, self._networks))
        if not allowed:
            raise AddressNotAllowedError
        return tuple(dict.fromkeys(allowed))

    def may_be_allowed(self, target: Target) -> bool:
        """False for a target that is never allowed, by its spelling alone."""
        if target.address is not None:
            return is_allowed(target.address, self._networks)
        name = target.host.lower()
        if name == "localhost" or name.endswith(".localhost"):
            loopback = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
            return any(is_allowed(address, self._networks) for address in loopback)
        return True

    def _resolved(self, name: str, port: int, timeout: float) -> tuple[Address, ...]:
        """In a thread of its own, because a resolver takes no time limit."""
        outcome: list[Sequence[str] | OSError] = []

        def ask() -> None:
            try:
                outcome.append(self._resolve(name, port))
            except UnicodeError:
                outcome.append(socket.gaierror(socket.EAI_NONAME, "not a name"))
            except OSError as error:
                outcome.append(error)

        thread = threading.Thread(target=ask, name="resolve", daemon=True)
        thread.start()
        thread.join(timeout)
        if not outcome:
            raise TimeoutError
        if isinstance(outcome[0], OSError):
            raise outcome[0]
        return tuple(ipaddress.ip_address(text) for text in outcome[0])
